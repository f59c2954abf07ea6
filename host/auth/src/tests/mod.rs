//! Tests of whole tokens: known ones, forged ones, those at the edge of their time.

mod cache;
mod configuration;
mod jwks;
mod jwt_claims;
mod jwt_forged;
mod jwt_signatures;
mod keys;
mod kinds;
mod phoenix;
mod phoenix_times;
mod properties;
mod terms;
