//! The command line: what it says to people, and how it refuses what cannot work.

mod check;
mod config;
mod help;
mod logs;
mod start;
