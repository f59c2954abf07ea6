//! Nothing is forged, and nothing is reached without a grant.
