//! Which attributes a path has, and which members they leave out.

use std::fs;

use gristmill_archive::attributes::{
    Attributes, AttributesError, Eol, PathAttributes, RULE_BYTES_MAX, RULES_MAX,
};

use super::check;
use crate::git::{Repository, Told};

const PATTERNS: &[u8] = b"# a comment
*.txt export-ignore
keep.txt -export-ignore
undo.txt !export-ignore
/root export-ignore
dir/ export-subst
dir/sub export-ignore
**/deep/*.c ident
a/**/z export-subst
src/** working-tree-encoding=UTF-16
src/*/x -working-tree-encoding
\"with space\" export-ignore
\\#hash export-ignore
\\!bang export-subst
!negative export-ignore
[abc]x ident
[!a-c]y ident
?.q ident
[[:digit:]]d export-ignore
br[ace export-ignore
*.d/file ident
  leading export-ignore
tabs\texport-ignore\tident
cr export-ignore\r
both export-ignore -export-ignore
value export-ignore=yes ident=no export-subst=
[attr]mine export-ignore export-subst
[attr]nested mine ident
macro mine
outer nested
off -mine
again mine !export-subst
bad export-ignore b@d
bad2 export-ignore -=x
builtin builtin_objectmode export-ignore
invalid.dir/** export-ignore
star*mid export-ignore
a*b*c*d export-ignore
dir/file export-subst
CASE export-ignore
enc working-tree-encoding=latin1
";

const INNER: &[u8] = b"*.txt !export-ignore
/only export-ignore
below/here export-ignore
[attr]local ident
uses local
x/ export-ignore
";

#[test]
fn patterns_mean_what_git_check_attr_says() {
    let repository = Repository::new();
    for (folder, content) in [("", PATTERNS), ("in", INNER), ("in/ner", b"*.txt export-ignore\n* ident\n")] {
        let folder = repository.folder().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".gitattributes"), content).unwrap();
    }
    let rules = Attributes::new([
        (&b"in/ner"[..], &b"*.txt export-ignore\n* ident\n"[..]),
        (b"", PATTERNS),
        (b"in", INNER),
    ])
    .unwrap();
    let paths = "a.txt b/a.txt keep.txt b/keep.txt undo.txt root b/root root/x dir dir/ dir/x x/dir/ x/dir dir/sub \
        dir/sub/ dir/sub/x deep/a.c x/deep/a.c x/y/deep/b.c x/deep/y/a.c a/z a/b/z a/b/c/z b/a/z src src/ src/a src/a/b \
        src/a/x src/x src/a/b/x with|space #hash !bang negative !negative ax dx ay dy a.q ab.q .q 1d ad br[ace \
        q.d/file q/q.d/file leading tabs cr both value macro outer off again bad bad2 builtin \
        invalid.dir/a/b invalid.dir star-mid star/mid starmid abcd a1b2c3d a/bcd dir/file case CASE enc \
        in/a.txt in/x/a.txt in/only in/x/only only in/below/here in/x/below/here below/here in/uses uses in/x in/x/ \
        in/x/y/ in/ner/a.txt in/ner/deeper/a.txt in/ner in/nerd/a.txt inn/a.txt in/macro in/outer .gitattributes";
    let paths: Vec<String> = paths.split_whitespace().map(|path| path.replace('|', " ")).collect();
    let names = ["export-ignore", "export-subst", "ident", "working-tree-encoding"];
    let mut args = vec!["check-attr", "-z", "--stdin"];
    args.extend(names);
    let stdin: Vec<u8> = paths.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect();
    let answer = String::from_utf8(repository.fed(&args, &stdin)).unwrap();
    let states: Vec<&str> = answer.split('\0').skip(2).step_by(3).collect();
    assert_eq!(states.len(), paths.len() * names.len());
    let mut different = 0;
    for (path, states) in paths.iter().zip(states.chunks(names.len())) {
        let (plain, is_folder) = path.strip_suffix('/').map_or((&path[..], false), |plain| (plain, true));
        let found = rules.of(plain.as_bytes(), is_folder);
        let expected = PathAttributes {
            export_ignore: states[0] == "set",
            export_subst: states[1] == "set",
            eol: Eol::AsIs,
            ident: states[2] == "set",
            encoding: Some(states[3])
                .filter(|name| !matches!(*name, "unspecified" | "unset"))
                .map(Into::into),
        };
        assert_eq!(found, expected, "{path}");
        different += usize::from(expected.export_ignore || expected.ident || expected.export_subst);
    }
    assert!(different > 40, "{different}: the paths miss the patterns");
}

#[test]
fn members_are_left_out_as_git_archive_leaves_them_out() {
    let files: &[(&str, &[u8])] = &[
        (".gitattributes", b"tests export-ignore\n*.o export-ignore\n/docs/** export-ignore\nonly/ export-ignore\n.gitattributes export-ignore\nmine/*.o !export-ignore\n"),
        ("a.c", b"a"),
        ("a.o", b"a"),
        ("docs/x", b"a"),
        ("docs/sub/x", b"a"),
        ("lib/tests/x", b"a"),
        ("lib/tests.c", b"a"),
        ("lib/.gitattributes", b"/keep/*.o -export-ignore\ntests !export-ignore\n"),
        ("lib/keep/x.o", b"a"),
        ("lib/keep/y/x.o", b"a"),
        ("mine/x.o", b"a"),
        ("only/a", b"a"),
        ("sub/only", b"a"),
        ("sub/tests", b"a"),
        ("-first/.gitattributes", b"*.o !export-ignore\n"),
        ("-first/x.o", b"a"),
    ];
    check(&Repository::new(), &Told::default(), files);
}

#[test]
fn rules_are_held_in_bounds() {
    let new = |content: &[u8]| Attributes::new([(&b""[..], content)]).map(|_| ());
    let wide = [vec![b'#'; 1023], vec![b'\n']].concat().repeat(RULE_BYTES_MAX / 1024);
    assert_eq!(new(&wide), Ok(()));
    assert_eq!(new(&[&wide[..], b"\n"].concat()), Err(AttributesError::TooLarge));
    let half = &wide[..wide.len() / 2];
    let both = [(&b""[..], half), (b"a", half), (b"b", b"\n")];
    assert_eq!(Attributes::new(both).map(|_| ()), Err(AttributesError::TooLarge));
    assert_eq!(new(&b"a text\n".repeat(RULES_MAX)), Ok(()));
    assert_eq!(new(&b"a text\n".repeat(RULES_MAX + 1)), Err(AttributesError::TooMany));
    assert_eq!(new(&b"# no rule\n \t\r\n\n".repeat(RULES_MAX)), Ok(()));
    let words = [b"a", &b" text".repeat(99)[..], b"\n"].concat();
    assert_eq!(new(&words.repeat(RULES_MAX / 25)), Ok(()));
    assert_eq!(new(&[&words.repeat(RULES_MAX / 25)[..], b"a\n"].concat()), Err(AttributesError::TooMany));
    let files = [(&b""[..], &words.repeat(RULES_MAX / 25)[..]), (b"a", b"a\n")];
    assert_eq!(Attributes::new(files).map(|_| ()), Err(AttributesError::TooMany));
}

#[test]
fn patterns_that_would_take_for_ever_are_refused() {
    // Each pair of stars doubles what a comparison costs.
    let new = |line: &str| Attributes::new([(&b""[..], format!("x text\n{line}").as_bytes())]).map(|_| ());
    let pairs = |count: usize| format!("{}b ident", "**/a/".repeat(count));
    assert_eq!(new(&pairs(8)), Ok(()));
    assert_eq!(new(&pairs(9)), Err(AttributesError::Pattern(pairs(9))));
    assert!(new(&format!("\"{}\" text", r"\**\/".repeat(9))).is_err());
    assert_eq!(new(&format!("# {}", "** ".repeat(40))), Ok(()));
    assert_eq!(new(&format!("{} text", "*".repeat(400))), Ok(()), "one run is one pair");
    assert_eq!(new(&format!("{} text", "*/".repeat(400))), Ok(()));
}

#[test]
fn what_git_passes_over_is_passed_over() {
    let long = |length: usize| {
        format!("{}\n", "x export-ignore ".to_owned() + &"i".repeat(length - 16)).into_bytes()
    };
    let files: &[(&str, &[u8])] = &[
        (".gitattributes", &[&long(2047)[..], b"after export-ignore\0\nbehind export-ignore\n"].concat()),
        ("a/.gitattributes", &[&long(2048)[..], b"last export-ignore"].concat()),
        ("b/.gitattributes", b"\xef\xbb\xbfbom export-ignore\n"),
        ("x", b""),
        ("after", b""),
        ("behind", b""),
        ("a/last", b""),
        ("b/bom", b""),
    ];
    check(&Repository::new(), &Told::default(), files);
    let files: &[(&str, &[u8])] =
        &[(".gitattributes", &[&long(2048)[..], b"last export-ignore"].concat()), ("x", b""), ("last", b"")];
    check(&Repository::new(), &Told::default(), files);
}
