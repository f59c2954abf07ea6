//! What is the operators' is out of the clients' reach, and stays within theirs.
