//! Tests that cannot do their work here say so, and are counted.

use std::io::Write;

/// Names the file that `make test` collects skipped tests in.
const FILE_VARIABLE: &str = "GRISTMILL_SKIPS";

/// Says that a test leaves out its work and why; the test then returns. A test that passes without having
/// looked at anything must not look like one that has.
///
/// The line is printed and, where the variable `GRISTMILL_SKIPS` names a file, appended to it: cargo shows
/// nothing that a passing test prints, so `scripts/test.sh` shows that file at its end.
#[expect(clippy::print_stdout, reason = "part of the test's output")]
pub fn skip(test: &str, why: &str) {
    let line = line(test, why);
    print!("{line}");
    if let Some(path) = std::env::var_os(FILE_VARIABLE) {
        // One write a line: tests of several processes append at the same time.
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(written.is_ok(), "{} cannot be written: {written:?}", path.display());
    }
}

fn line(test: &str, why: &str) -> String {
    format!("SKIPPED: {test}: {}\n", why.trim().replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn one_line_a_test() {
        assert_eq!(line("a::b", "no root"), "SKIPPED: a::b: no root\n");
        assert_eq!(line("a::b", " two\nlines\n"), "SKIPPED: a::b: two lines\n");
    }
}
