//! A component that is hard to compile harms nobody.
