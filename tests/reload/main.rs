//! `millrace dev`: a new version of a plugin takes over from the old one while
//! clients stay.

mod component;
mod configuration;
mod readme;
mod source;
