//! What attributes make of contents.

use std::borrow::Cow;

use gristmill_archive::attributes::{Attributes, Commit, ConvertError, apply};

use super::{by_git, by_us, check};
use crate::git::{Repository, Told};

#[test]
fn ends_of_lines_are_those_of_git_archive() {
    let rules = "*.crlf eol=crlf\n*.text text eol=crlf\n*.auto text=auto eol=crlf\n*.plain text=auto\n*.bin -text eol=crlf\n\
        *.lf text eol=lf\n*.input text=input eol=crlf\n*.old crlf eol=crlf\n*.no -crlf eol=crlf\n*.odd text=x eol=crlf\n\
        *.both text=auto crlf eol=crlf\n*.unset text -eol\n*.oldauto crlf=auto eol=crlf\n*.binary binary eol=crlf\n*.CASE eol=CRLF\n";
    let mut noise = vec![b'p'; 128 * 3];
    noise.extend([1, 2, 127, b'\n']);
    let mut more_noise = noise.clone();
    more_noise.extend([3]);
    let mut marked = noise.clone();
    marked.extend([0x1a]);
    let contents: &[(&str, &[u8])] = &[
        ("lf", b"a\nb\n"),
        ("empty", b""),
        ("none", b"ab"),
        ("crlf", b"a\r\nb\r\n"),
        ("mixed", b"a\r\nb\nc\n"),
        ("cr", b"a\rb\nc\n"),
        ("last", b"a\nb"),
        ("crs", b"a\r\r\nb\n\r"),
        ("nul", b"a\0b\nc\n"),
        ("first", b"\n\na"),
        ("eof", b"abc\n\x1a"),
        ("control", b"a\x08\t\x1b\x0c\n"),
        ("one", b"a\x01\n"),
        ("noise", &noise),
        ("more", &more_noise),
        ("marked", &marked),
        ("utf8", "\u{e4}\u{1f980}\n".as_bytes()),
    ];
    let mut files: Vec<(String, &[u8])> = vec![(".gitattributes".to_owned(), rules.as_bytes())];
    for rule in rules.lines() {
        let extension = rule[1..].split(' ').next().unwrap();
        files.extend(contents.iter().map(|(name, content)| (format!("{name}{extension}"), *content)));
    }
    let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), *content)).collect();
    check(&Repository::new(), &Told::default(), &files);
}

#[test]
fn identifiers_are_those_of_git_archive() {
    let contents: &[&[u8]] = &[
        b"$Id$",
        b"a $Id$ b $Id$ c",
        b"$Id: abc $",
        b"$Id:abc$",
        b"$Id:$",
        b"$Id: $",
        b"$Id:  $",
        b"$Id: a b $",
        b"$Id:a b$",
        b"$Id: a\nb $ $Id$",
        b"$Id: a",
        b"$Id: a b $Id$",
        b"$Id",
        b"$Idx$ $Id$",
        b"$$Id$$",
        b"$id$ $ID$",
        b"$I $ $Id: x$ tail $",
        b"no dollar",
        b"",
    ];
    let names: Vec<String> = (0..contents.len()).map(|number| format!("f{number}")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![(".gitattributes", b"f* ident\nf0 ident eol=crlf\n")];
    files.extend(names.iter().map(String::as_str).zip(contents.iter().copied()));
    check(&Repository::new(), &Told::default(), &files);
}

#[test]
fn encodings_are_those_of_git_archive() {
    let encodings = [
        "UTF-16",
        "utf-16",
        "UTF16",
        "UTF-16LE",
        "UTF-16BE",
        "UTF-16LE-BOM",
        "utf-16be-bom",
        "UTF-32",
        "UTF-32LE",
        "UTF-32BE",
        "ISO-8859-1",
        "latin1",
        "UTF-8",
        "utf8",
    ];
    let contents: &[&[u8]] = &[b"a\n", "\u{e4}\n".as_bytes(), "\u{1f980}\u{20ac}".as_bytes(), b"\xff\n", b""];
    let mut rules = String::new();
    let mut files: Vec<(String, &[u8])> = Vec::new();
    for encoding in encodings {
        rules += &format!("*.{encoding}.x text eol=crlf working-tree-encoding={encoding}\n");
        for (number, content) in contents.iter().enumerate() {
            files.push((format!("{number}.{encoding}.x"), content));
        }
    }
    files.push((".gitattributes".to_owned(), rules.as_bytes()));
    let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), *content)).collect();
    check(&Repository::new(), &Told::default(), &files);
    let rules = Attributes::new([(&b""[..], &b"a working-tree-encoding=SHIFT-JIS\n"[..])]).unwrap();
    let error = apply(b"x", &rules.of(b"a", false), "", None, 100).unwrap_err();
    assert_eq!(error, ConvertError::Encoding("SHIFT-JIS".to_owned()));
}

const FORMATS: &[&str] = &[
    "$Format:%H %h %T %t|%P|%p|$",
    "$Format:%an|%ae|%al|%at|%ad|%aD|%ai|%aI|%as$",
    "$Format:%cn|%ce|%cl|%ct|%cd|%cD|%ci|%cI|%cs$",
    "$Format:%s|%f|%b|%B|%e$",
    "$Format:%d|%D|%n|%%|%%H|%x41%x7a%x0a$",
    "$Format:%xg1|%x4|%x|%q|%|%ax|%a|%cq|%(x)|%(|%$",
    "$Format:$",
    "$Format$",
    "$Format:%H",
    "$Format:%H\n%h$ $Format:%t$ $Format:",
    "$format:%H$",
    "$$Format:%h$$",
    "$Format:%+s|%+e|%-s|%-e|% s|% e|%n%n%-e|%+q|%-q|% q|%+|$",
    "$Format:%-b|%+b|%n%-d$",
    "$Format:a\0%H$ b",
    "no placeholder %H",
    "",
];

#[test]
fn placeholders_are_expanded_as_git_archive_expands_them() {
    let repository = Repository::new();
    let names: Vec<String> = (0..FORMATS.len()).map(|number| format!("f{number}")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![
        (".gitattributes", b"f* export-subst\nboth export-subst eol=crlf ident\n"),
        ("off", b"$Format:%H$"),
        ("both", b"$Format:%B$\n$Id$\n"),
    ];
    files.extend(names.iter().map(String::as_str).zip(FORMATS.iter().map(|format| format.as_bytes())));
    let plain = Told::default();
    let messages: &[&[u8]] = &[
        b"one line",
        b"\n \n  spaced subject  \n second line\t\n  \n\n body\n\n more \n",
        b"",
        b"\n\n",
        b"...odd: (subject)!! with..dots. and_under-scores...\nnext",
        "\u{e4}\u{1f980} subject\n\nbody".as_bytes(),
        b"-- a  b -\n\nx",
        b"subject\r\n\r\nbody\r\n",
    ];
    for message in messages {
        check(&repository, &Told { message, ..plain }, &files);
    }
    for author in [
        "A <a@b> 0 +0000",
        "A <a@b> 951782400 -0330",
        "A <a@b> 1735689599 +1400",
        "A <a@b> 4102444800 +0000",
        "A <> 1112911993 -0000",
        " <no.at.sign> 1112911993 +0200",
        "\u{c4}. \"Q\" <x@y@z> 1112911993 +0059",
    ] {
        check(&repository, &Told { author, committer: author, ..plain }, &files);
    }
    check(&repository, &Told { encoding: Some("UTF-8"), ..plain }, &files);
    check(&repository, &Told { encoding: Some("ISO-8859-1"), ..plain }, &files);
    repository.git(&["tag", "v1", "main"]);
    repository.git(&["branch", "other", "main"]);
    let (git, we) = (by_git(&repository), by_us(&repository, &files).unwrap());
    assert_eq!(git, we, "with tags");
    assert!(git["f4"].starts_with(b" (HEAD -> main, tag: v1, other)|"), "{}", git["f4"].escape_ascii());
}

#[test]
fn placeholders_that_would_give_other_bytes_are_refused() {
    let object =
        b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nparent 0123456789012345678901234567890123456789\n\
        author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\nencoding ISO-8859-1\n\n\xe4";
    let id = "0".repeat(40);
    let commit = Commit::new(&id, object, 7, "").unwrap();
    let rules = Attributes::new([(&b""[..], &b"* export-subst\n"[..])]).unwrap();
    let run = |content: &str, commit: Option<&Commit<'_>>, limit: usize| {
        apply(content.as_bytes(), &rules.of(b"a", false), "", commit, limit).map(Cow::into_owned)
    };
    let encoding = ConvertError::MessageEncoding("ISO-8859-1".to_owned());
    assert_eq!(run("$Format:%H$", Some(&commit), 100), Err(encoding));
    assert_eq!(run("$Format:%H", Some(&commit), 100).unwrap(), b"$Format:%H");
    assert_eq!(run("$Format:%H$", None, 100).unwrap(), b"$Format:%H$");
    let ascii = object[..object.len() - 1].to_vec();
    let commit = Commit::new(&id, &ascii, 7, "").unwrap();
    assert_eq!(run("$Format:%p %e$", Some(&commit), 100).unwrap(), b"0123456 ISO-8859-1");
    for format in [
        "%aN",
        "%aE",
        "%aL",
        "%ar",
        "%ah",
        "%cN",
        "%cr",
        "%N",
        "%G?",
        "%gd",
        "%Cred",
        "%C(auto)",
        "%<(20)",
        "%>>(9)",
        "%w(3)",
        "%S",
        "%m",
        "%(describe)",
        "%(trailers:only)",
        "%(decorate)",
    ] {
        let error = run(&format!("$Format:{format}$"), Some(&commit), 100).unwrap_err();
        assert_eq!(error, ConvertError::Placeholder(format.to_owned()));
        let error = run(&format!("$Format:%+{}$", &format[1..]), Some(&commit), 100).unwrap_err();
        assert_eq!(error, ConvertError::Placeholder(format.to_owned()));
    }
    assert_eq!(run("$Format:%H%H$", Some(&commit), 80).unwrap().len(), 80);
    let limit = ConvertError::TooLarge { limit: 79 };
    assert_eq!(run("$Format:%H%H$", Some(&commit), 79), Err(limit.clone()));
    assert_eq!(run("$Format:%H$$Format:%H$", Some(&commit), 79), Err(limit));
    for damaged in
        [&b""[..], b"tree x\n", b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ncommitter A <a@b> 1 +0\n\n"]
    {
        assert!(Commit::new(&id, damaged, 7, "").is_err());
    }
    for other in ["", "main", &id[1..], &"g".repeat(40), &"0".repeat(64)] {
        assert_eq!(Commit::new(other, object, 7, "").is_ok(), other.len() == 64, "{other}");
    }
}
