//! What an archive holds besides the tree as git has it.

use gristmill_model::{ArchiveOptions, Attributes, PipelineKind};

use super::{load, project, refusal};

/// The options that a pipeline's lines give.
fn options(lines: &str) -> ArchiveOptions {
    let config = load(&project("", lines)).unwrap_or_else(|errors| panic!("{lines}: {errors}"));
    let PipelineKind::Archive(archive) = &config.projects[0].spec.pipelines[0].kind;
    archive.options.clone()
}

#[test]
fn each_option_is_off_unless_it_is_asked_for() {
    let none = ArchiveOptions::default();
    assert_eq!(options(""), none);
    assert_eq!(options("attributes = \"raw\"\nexport_ignore = false"), none);
    let git = ArchiveOptions { attributes: Attributes::Git, ..none.clone() };
    assert_eq!(options("attributes = \"git\""), git);
    assert_eq!(options("export_ignore = true"), ArchiveOptions { export_ignore: true, ..none.clone() });
    let paths = vec!["src/**".to_owned(), "!**/*.md".to_owned()];
    assert_eq!(options("paths = [\"src/**\", \"!**/*.md\"]"), ArchiveOptions { paths, ..none.clone() });
    assert_eq!(options("lfs = true"), ArchiveOptions { lfs: true, ..none.clone() });
    assert_eq!(options("submodules = true"), ArchiveOptions { submodules: true, ..none.clone() });
    let include_git = ArchiveOptions { include_git: true, ..none };
    assert_eq!(options("include_git = true\nformat = \"tar\"\nexport_ignore = false"), include_git);
}

#[test]
fn what_is_no_option_is_refused_with_what_is() {
    for (lines, told) in [
        ("attributes = \"gti\"", "`attributes` is \"gti\"; expected one of: raw, git"),
        ("attributes = true", "`attributes` is true; expected one of: raw, git"),
        ("paths = []", "paths needs a pattern that does not begin with `!`, such as \"services/api/**\""),
        ("paths = [\"a[\"]", "paths: \"a[\" is no pattern: unclosed character class; missing ']'"),
        (
            "paths = \"src\"",
            "`paths` is \"src\"; expected a list of patterns of paths, such as [\"services/api/**\", \"!**/*.md\"]",
        ),
        (
            "paths = [1]",
            "`paths` is 1; expected a list of patterns of paths, such as [\"services/api/**\", \"!**/*.md\"]",
        ),
        (
            "include_git = true\nexport_ignore = true",
            "`include_git` brings everything that `export_ignore` leaves out, and git would call it deleted; use one of them",
        ),
        ("lfs = \"yes\"", "`lfs` is \"yes\"; expected true or false"),
        ("submodules = 1", "`submodules` is 1; expected true or false"),
        ("include_git = 1", "`include_git` is 1; expected true or false"),
        ("export_ignore = 1", "`export_ignore` is 1; expected true or false"),
    ] {
        assert_eq!(refusal(&project("", lines)), format!("gristmill.toml:7: {told}"), "{lines}");
    }
}
