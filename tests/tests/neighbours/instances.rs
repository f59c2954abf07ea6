//! Instances are shared fairly between connections, calls and tasks.
