//! Load generator and native floor server.
