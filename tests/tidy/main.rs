//! The rules of the code that no compiler knows, as tests: layers, sizes, doc comments,
//! words, and that what else holds the rules is asked to. The rules are data, in `rules`;
//! each check has a test that breaks its rule and sees that it is found.

mod crates;
mod docs;
mod finding;
mod folders;
mod guards;
mod purity;
mod rules;
mod sizes;
mod source;
mod words;
