//! Every SQL text of the crate: a const beside the function that runs it, and a list for the test
//! that prepares them all.

/// Declares SQL consts and the list of them.
macro_rules! statements {
    ($($name:ident = $sql:expr;)*) => {
        $(const $name: &str = $sql;)*
        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use statements;
