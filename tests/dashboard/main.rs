//! The page of operators at `/dashboard`, its data, and who may see them.

mod access;
mod browser;
mod pipelines;
mod prefix;
