//! Files: what is served, what is kept, what is trusted.
