//! What the host does for a plugin costs the plugin.
