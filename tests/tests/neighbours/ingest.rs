//! Requests over HTTP end, and a large one takes its turns.
