//! Git's attributes, compared with `git archive` itself.

use gristmill_archive::Format;
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

use super::{Members, assert_equal, members};
use crate::world::{MAIN, World};

const RULES: &str = "\
*.bat eol=crlf
*.sh text eol=lf
auto/* text=auto eol=crlf
*.reg working-tree-encoding=UTF-16LE-BOM
id.txt ident
version.txt export-subst
private export-ignore
*.secret export-ignore
";

/// Something for each attribute.
fn of_everything() -> Changes {
    Changes::new()
        .file(".gitattributes", RULES)
        .file("run.bat", "echo one\necho two\n")
        .executable("run.sh", "#!/bin/sh\n")
        .file("auto/text", "a\nb\n")
        .file("auto/binary", "a\n\0b\n")
        .file("keys.reg", "gr\u{fc}\u{df}e\n")
        .file("id.txt", "$Id$\n")
        .file("version.txt", "$Format:%H %h %T %an %ae %cI %s %D$\n")
        .file("unasked.txt", "$Format:%H$ $Id$\n")
        .file("private/a", "x")
        .file("private/deep/b", "x")
        .file("deep/c.secret", "x")
        .file("deep/.gitattributes", "*.txt eol=crlf\nkept.secret -export-ignore\n")
        .file("deep/d.txt", "d\n")
        .file("deep/kept.secret", "x")
        .symlink("link.bat", "run.bat")
        .submodule("vendor/lib", "1111111111111111111111111111111111111111")
}

/// The pipeline's lines for each choice.
const CHOICES: [(&str, bool, bool); 4] = [
    ("", false, false),
    ("attributes = \"git\"", true, false),
    ("export_ignore = true", false, true),
    ("attributes = \"git\"\nexport_ignore = true", true, true),
];

/// What `git archive` gives where both are on; otherwise what it gives and the tree has, put together.
fn expected(repo: &TestRepo, commit: &str, converts: bool, ignores: bool) -> Members {
    let tar = repo.git(["-c", "core.abbrev=12", "archive", "--format=tar", "refs/heads/main"]);
    let by_git = members(Format::Tar, &tar);
    let lines = repo.ls_tree(commit).into_iter().filter(|line| line.mode != "040000");
    let raw = lines.map(|line| {
        let name = String::from_utf8(line.path).expect("UTF-8");
        let (mode, content) = match line.mode.as_str() {
            "100644" => ("100644", repo.blob(&line.id)),
            "100755" => ("100755", repo.blob(&line.id)),
            "120000" => ("120000", repo.blob(&line.id)),
            _ => ("160000", Vec::new()),
        };
        (name, (mode, content))
    });
    let raw = raw.filter(|(name, _)| !ignores || by_git.contains_key(name));
    raw.map(|(name, as_it_is)| match by_git.get(&name) {
        Some(by_git) if converts => (name, by_git.clone()),
        _ => (name, as_it_is),
    })
    .collect()
}

#[test]
fn files_are_what_git_archive_makes_of_them_where_that_is_asked_for() {
    for format in [Format::Zip, Format::TarGz] {
        for (lines, converts, ignores) in CHOICES {
            let what = format!("{format} {lines}");
            let world = World::start(|project| project.pipeline(&format!("format = \"{format}\"\n{lines}")));
            let key = format!("acme/shop/main/acme_shop.{format}");
            let first = world.commit(None, &of_everything());
            world.push_and_wait(MAIN, &first);
            let bytes = world.server.store().public(&key).unwrap_or_else(|| panic!("{}", world.server.log()));
            assert_equal(&members(format, &bytes), &expected(&world.repo, &first, converts, ignores), &what);
            // A second commit takes members over, and what changed or tells of the commit is made anew.
            let second = world.commit(Some(&first), &Changes::new().file("run.bat", "echo three\n"));
            world.push_and_wait(MAIN, &second);
            let bytes = world.server.store().public(&key).expect("published");
            assert_equal(&members(format, &bytes), &expected(&world.repo, &second, converts, ignores), &what);
            let run = world.run_of(&second);
            assert_eq!(run["state"], "succeeded", "{run:#}");
            let shown = world.server.cli_json(&["run", "show", run["id"].as_str().expect("an id")]);
            let recipe = shown["artifacts"][0]["recipe"].as_str().expect("a recipe").to_owned();
            assert_eq!(recipe.contains("attributes/1"), converts, "{recipe}");
            assert_eq!(recipe.contains("export-ignore"), ignores, "{recipe}");
            let tree = world.repo.resolve(&format!("{second}^{{tree}}")).expect("a tree");
            assert_eq!(shown["artifacts"][0]["tree"], tree, "the commit's tree, whatever was made of it");
            let metadata = world.server.store().query("SELECT metadata FROM publication ORDER BY seq DESC");
            assert!(metadata[0].contains(&recipe), "{metadata:?}");
            let plan = world.server.cli_json(&["project", "plan", crate::world::PROJECT, "--ref", MAIN]);
            assert_eq!(plan[0]["runs"][0]["recipe"], recipe);
        }
    }
}

#[test]
fn an_equal_tree_has_equal_bytes_unless_it_tells_of_its_commit() {
    for (rules, is_equal) in [("*.txt export-subst", false), ("*.txt eol=crlf", true)] {
        let world = World::start(|project| project.pipeline("attributes = \"git\""));
        let changes =
            Changes::new().file(".gitattributes", rules).file("a.txt", "$Format:%H$\n").file("b", "x");
        let first = world.commit(None, &changes);
        let again = world.commit(Some(&first), &Changes::new());
        world.push_and_wait(MAIN, &first);
        world.push_and_wait(MAIN, &again);
        let versions = world.server.store().versions_of(crate::world::KEY);
        assert_eq!(versions.len(), 2);
        assert_eq!(versions[0].digest == versions[1].digest, is_equal, "{rules}");
        let bytes = world.server.store().public(crate::world::KEY).expect("published");
        let expected = if is_equal { "$Format:%H$\r\n".to_owned() } else { format!("{again}\n") };
        assert_eq!(members(Format::Zip, &bytes)["a.txt"].1, expected.as_bytes());
    }
}

#[test]
fn what_cannot_be_made_as_git_makes_it_fails_with_the_file_and_the_reason() {
    let world = World::start(|project| project.pipeline("attributes = \"git\""));
    for (rules, file, reason) in [
        ("*.x working-tree-encoding=SHIFT-JIS", "x", "a.x: working-tree-encoding=\"SHIFT-JIS\""),
        ("*.x export-subst", "$Format:%(describe)$", "a.x: export-subst: the placeholder"),
    ] {
        let commit = world.commit(None, &Changes::new().file(".gitattributes", rules).file("a.x", file));
        world.push_and_wait(MAIN, &commit);
        let run = world.run_of(&commit);
        assert_eq!(run["state"], "failed");
        let told = run["reason"].as_str().expect("a reason");
        assert!(told.starts_with(reason) && told.contains("attributes = \"raw\""), "{told}");
    }
}
