//! The program `gristmill`.

fn main() {}
