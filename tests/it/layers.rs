//! The map in `src/lib.rs` is kept: a module uses only modules above it, and few modules name the big libraries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn a_module_uses_only_modules_above_it() {
    let map = map();
    let mut faults = Vec::new();
    for (module, file) in sources() {
        // The program only calls `cli`, the last of the map; `lib.rs` only lists the modules.
        let Some(own) = map.iter().position(|name| *name == module) else {
            assert!(matches!(module.as_str(), "lib" | "main"), "`{module}` is not in the map of src/lib.rs");
            continue;
        };
        for (number, name) in mentions(&file) {
            let used = map.iter().position(|other| *other == name);
            if used.is_some_and(|used| used > own) {
                faults.push(format!("{}:{number}: `{module}` uses `{name}`, which is below it", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "the layering of src/lib.rs is broken:\n{}", faults.join("\n"));
}

#[test]
fn the_map_lists_exactly_the_modules_that_there_are() {
    let listed: BTreeSet<String> = map().into_iter().collect();
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let declared: BTreeSet<String> = declared.map(str::to_owned).collect();
    assert_eq!(listed, declared);
}

#[test]
fn only_the_modules_that_own_a_library_name_it() {
    const OWNERS: &[(&str, &[&str])] = &[
        ("russh", &["listener", "target", "wire"]),
        ("sled", &["db"]),
        ("clap", &["cli"]),
        ("avt", &["screen"]),
        ("zstd", &["seal"]),
        ("ureq", &["http", "notify", "witness"]),
        ("rustls", &["desktop", "http"]),
        ("sspi", &["desktop"]),
        ("hyper", &["witness"]),
    ];
    let mut faults = Vec::new();
    for (module, file) in sources() {
        for (number, line) in code(&file) {
            for (library, owners) in OWNERS {
                if names(&line, library) && !owners.contains(&module.as_str()) {
                    faults.push(format!("{}:{number}: `{module}` names {library}", file.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_module_starts_a_shell() {
    // Threat T25: a privileged program that runs command lines is one quoting mistake away from running an attacker's.
    // An auditor's own `ssh`, on the auditor's machine; its arguments are parsed and no shell reads them.
    // The operator's own mail program: its arguments are the configuration's, and no shell reads them either.
    // An auditor's own `ffmpeg`, too, whose arguments are all our own; and our own program once more, for a desktop.
    const ALLOWED: [&str; 4] =
        ["cli/export/desktop.rs", "cli/fetch.rs", "notify/program.rs", "session/desktop/process.rs"];
    let privileged = |file: &PathBuf| !file.ends_with("tests.rs") && ALLOWED.iter().all(|own| !file.ends_with(own));
    for (_, file) in sources().into_iter().filter(|(_, file)| privileged(file)) {
        for (number, line) in code(&file) {
            // What the gate writes for a target is called a command, too.
            let other = line.contains("clap::") || line.contains("CanonicalCommand::new(");
            let starts = line.contains("Command::new(") && !other;
            assert!(!starts, "{}:{number}: starts a program: {line}", file.display());
        }
    }
}

#[test]
fn only_the_modules_that_make_text_harmless_print_it() {
    // Threat T13: what a file or a peer wrote must not steer the operator's terminal.
    const PRINTERS: [&str; 2] = ["cli/output.rs", "cli/replay/console.rs"];
    for (_, file) in sources().into_iter().filter(|(_, file)| !file.ends_with("tests.rs")) {
        for (number, line) in code(&file) {
            let prints = ["println!(", "print!(", "eprint!("].iter().any(|print| line.contains(print));
            let allowed = PRINTERS.iter().any(|printer| file.ends_with(printer));
            assert!(!prints || allowed, "{}:{number}: prints by itself: {line}", file.display());
        }
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for (_, file) in sources() {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 800, "{} has {lines} lines; split it by a noun", file.display());
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The modules in the order of the map: the first word of each line of the block in the crate's documentation.
fn map() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let block = text.split("//! ```text\n").nth(1).and_then(|rest| rest.split("//! ```").next()).unwrap();
    block.lines().filter_map(|line| line.strip_prefix("//! ")?.split_whitespace().next()).map(str::to_owned).collect()
}

/// Every source file with the module that it belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    let source = root().join("src");
    let mut found = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let first = path.strip_prefix(&source).unwrap().iter().next().unwrap();
                let module = Path::new(first).file_stem().unwrap().to_string_lossy().into_owned();
                found.push((module, path));
            }
        }
    }
    assert!(found.len() > 10, "no sources found");
    found
}

/// The lines of a file without those that are comments, numbered from 1.
fn code(file: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines.map(|(index, line)| (index + 1, line.to_owned())).collect()
}

/// Each `crate::name`, each name of a `crate::{a, b::c}` list, and each `super::name` where `super` is the crate.
fn mentions(file: &Path) -> Vec<(usize, String)> {
    let lines = code(file);
    let text: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
    let source = root().join("src");
    let top = file.parent() == Some(&source)
        || (file.ends_with("mod.rs") && file.parent().and_then(Path::parent) == Some(&source));
    let prefixes: &[&str] = if top { &["crate::", "super::"] } else { &["crate::"] };
    let mut found = Vec::new();
    for prefix in prefixes {
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at + prefix.len()..];
            let number = lines[text[..at].matches('\n').count()].0;
            let list = rest.strip_prefix('{').map(first_names);
            found.extend(list.unwrap_or_else(|| vec![word(rest)]).into_iter().map(|name| (number, name)));
        }
    }
    found
}

/// The first word of each element of a `{...}` list whose opening brace has been read.
fn first_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 1;
    let mut start = 0;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (c == ',' && depth == 1) || depth == 0 {
            names.push(word(list[start..at].trim_start()));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether a line has `library::` or `use library` with nothing before the name that makes it another one.
fn names(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + library.len()..];
        let whole = before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':' | '"' | '-' | '`'));
        whole && (after.starts_with("::") || (line.trim_start().starts_with("use ") && after.starts_with(';')))
    })
}

#[test]
fn the_reader_of_sources_finds_every_form() {
    let folder = crate::fixture::scratch();
    let file = folder.path().join("x.rs");
    std::fs::write(&file, "// crate::no\nuse crate::{a::{b, c}, d};\nfn f() { crate::e::f() }\n").unwrap();
    let found: Vec<String> = mentions(&file).into_iter().map(|(_, name)| name).collect();
    assert_eq!(found, ["a", "d", "e"]);
    assert!(names("use russh::server;", "russh") && names("    russh::Error,", "russh"));
    assert!(!names("my_russh::x", "russh") && !names("crate::russh::x", "russh") && !names("\"russh::x\"", "russh"));
}
