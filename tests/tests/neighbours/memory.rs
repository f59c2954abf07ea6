//! Memory: what waits in a connection, in a plugin and in the server is counted in bytes.
