//! Clients that read are never closed for being slow; those that do not read are.
