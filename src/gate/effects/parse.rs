//! Files of the table become entries, or all their faults.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Does, Doing, Entry, Opt, Places, Syntax, Tail, Takes, When, matters};
use crate::document::{Document, Fault, Faults, Node, Table as Keys};

/// Subcommands of subcommands, and no deeper: `docker container run`.
const DEPTH_MAX: usize = 4;

/// A program's entry and the file that it stands in.
pub(super) struct Program {
    pub(super) entry: Entry,
    /// For faults: which file and line.
    pub(super) file: String,
    pub(super) line: usize,
}

/// Reads one file.
pub(super) fn file(path: &str, text: &str, faults: &mut Faults) -> Vec<Program> {
    let Some(document) = Document::parse(path, text, faults) else { return Vec::new() };
    let mut root = document.root();
    if let Some(schema) = root.need("schema", faults) {
        faults.keep(schema.integer_in(1..=1_u64));
    }
    let mut programs = Vec::new();
    for node in root.read("program", Vec::new(), faults, Node::list) {
        let Some(mut keys) = faults.keep(node.table()) else { continue };
        if let Some(manual) = keys.need("manual", faults) {
            faults.keep(manual.filled_string());
        }
        let line = node.line();
        let entry = entry(keys, &[], faults);
        programs.push(Program { entry, file: path.to_owned(), line });
    }
    root.finish(&[], faults);
    programs
}

/// Reads an entry; `above` are the programs and subcommands that it stands in.
fn entry(mut keys: Keys<'_>, above: &[&Entry], faults: &mut Faults) -> Entry {
    let mut entry = Entry::default();
    if let Some(names) = keys.need("names", faults) {
        entry.names = self::names(&names, above.is_empty(), faults);
    }
    match above.last() {
        None => {
            if let Some(syntax) = keys.need("syntax", faults) {
                entry.syntax = faults.keep(syntax.word(&Syntax::WORDS)).unwrap_or_default();
            }
        }
        Some(parent) => {
            entry.syntax = keys.read("syntax", parent.syntax, faults, |node| node.word(&Syntax::WORDS));
        }
    }
    if let Some(plain) = keys.take("plain")
        && let Some(text) = faults.keep(plain.string())
    {
        for name in text.split_whitespace() {
            let nothing = |takes| vec![vec![Doing::Nothing]; values(takes)];
            add_option(&mut entry, &plain, name, nothing, faults);
        }
    }
    for (spelling, node) in tables(&mut keys, "options", faults) {
        let does = option_does(&node, faults);
        for name in spelling.split_whitespace() {
            add_option(&mut entry, &node, name, |_| does.clone(), faults);
        }
    }
    if entry.syntax.bundles() {
        // What a program says of them holds behind its subcommands, too: `git log --help` opens a pager.
        let own = |name: &&str| !above.iter().any(|parent| parent.global && parent.options.contains_key(*name));
        for name in ["--help", "--version"].into_iter().filter(own) {
            let plain = Opt { takes: Takes::Nothing, does: vec![vec![Doing::Nothing]] };
            entry.options.entry(name.to_owned()).or_insert(plain);
        }
    }
    entry.does = without_word(&mut keys, "does", faults).unwrap_or_default();
    entry.bare = without_word(&mut keys, "bare", faults).unwrap_or_default();
    entry.plus = one_word(&mut keys, "plus", faults);
    entry.operands = operands(&mut keys, faults).unwrap_or_default();
    entry.assignments = keys.read("assignments", false, faults, Node::boolean);
    entry.at_files = keys.read("at-files", false, faults, Node::boolean);
    entry.appends = keys.read("appends", false, faults, Node::boolean);
    entry.global = keys.read("global", false, faults, Node::boolean);
    entry.abbreviates = keys.read("abbreviates", false, faults, Node::boolean);
    for node in keys.read("fills", Vec::new(), faults, Node::filled_list) {
        entry.fills.extend(faults.keep(node.filled_string()).map(str::to_owned));
    }
    for (spelling, node) in tables(&mut keys, "settings", faults) {
        let does = faults.keep(node.string()).map(|text| does(&node, text, faults)).unwrap_or_default();
        if does.iter().any(|doing| matches!(doing, Doing::Setting | Doing::Settings)) {
            faults.push(node.fault("a setting cannot hold settings"));
        }
        for key in spelling.split_whitespace() {
            if entry.settings.insert(key.to_ascii_lowercase(), does.clone()).is_some() {
                faults.push(node.fault(format!("the key {key:?} stands here twice")));
            }
        }
    }
    let whens = keys.read("when", Vec::new(), faults, Node::list);
    let subs = keys.read("sub", Vec::new(), faults, Node::list);
    keys.finish(&[], faults);
    for node in whens {
        if let Some(keys) = faults.keep(node.table()) {
            let when = when(keys, &entry, above, faults);
            entry.whens.push(when);
        }
    }
    entry.options_matter = matter(&entry, above);
    add_subs(&mut entry, &subs, above, faults);
    entry
}

fn add_subs(entry: &mut Entry, subs: &[Node<'_>], above: &[&Entry], faults: &mut Faults) {
    let mut read: Vec<Entry> = Vec::new();
    for node in subs {
        if above.len() + 1 >= DEPTH_MAX {
            faults.push(node.fault("subcommands stand too deep in each other"));
            return;
        }
        let Some(keys) = faults.keep(node.table()) else { continue };
        let mut chain = above.to_vec();
        chain.push(&*entry);
        let sub = self::entry(keys, &chain, faults);
        for name in &sub.names {
            if read.iter().any(|other| other.names.contains(name)) {
                faults.push(node.fault(format!("the subcommand {name:?} stands here twice")));
            }
        }
        read.push(sub);
    }
    entry.subs = read;
}

/// Whether a word that turns out to be an option could do anything.
fn matter(entry: &Entry, above: &[&Entry]) -> bool {
    let own = entry.options.values().any(|option| option.does.iter().any(matters))
        || entry.plus.as_ref().is_some_and(matters)
        || entry.whens.iter().any(|when| matters(&when.does) || when.operands.is_some() || !when.options.is_empty());
    own || above.last().is_some_and(|parent| parent.global && parent.options_matter)
}

fn names(node: &Node<'_>, program: bool, faults: &mut Faults) -> Vec<String> {
    let mut names = Vec::new();
    for node in faults.keep(node.filled_list()).unwrap_or_default() {
        let Some(name) = faults.keep(node.filled_string()) else { continue };
        let stem = if program { name.strip_suffix('#').unwrap_or(name) } else { name };
        if stem.is_empty() || stem.contains(|c: char| c.is_whitespace() || c == '/' || (program && c == '#')) {
            faults.push(node.fault(format!("{name:?} is not a name")).hint("a base name, perhaps with a # at its end"));
        } else if program && stem != name && stem.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
            // A version is all digits and dots at the end, so that such a stem would never be looked for.
            faults.push(node.fault(format!("a version cannot follow {stem:?}")).hint("leave its digits to the #"));
        } else {
            names.push(name.to_owned());
        }
    }
    names
}

/// A table whose keys the writer chose; none if it is missing.
fn tables<'d>(keys: &mut Keys<'d>, key: &'static str, faults: &mut Faults) -> BTreeMap<&'d str, Node<'d>> {
    let table = keys.take(key).and_then(|node| faults.keep(node.table()));
    table.map(|mut table| table.rest()).unwrap_or_default()
}

/// Names of an option as written, each with what it takes.
fn spelled(name: &str, syntax: Syntax) -> Result<(Vec<String>, Takes), &'static str> {
    let bare = name.trim_end_matches('=');
    let (stem, takes) = if syntax == Syntax::Keys {
        if !name.ends_with('=') || bare.is_empty() {
            return Err("the names of `keys` end in =");
        }
        (name, Takes::One)
    } else if let Some(stem) = name.strip_suffix("...") {
        (stem, Takes::Rest)
    } else if let Some(stem) = name.strip_suffix(';') {
        (stem, Takes::UpToSemicolon)
    } else if let Some(stem) = name.strip_suffix('?') {
        (stem, Takes::Perhaps)
    } else {
        match name.len() - bare.len() {
            0 => (name, Takes::Nothing),
            1 => (bare, Takes::One),
            more => (bare, Takes::Several(more)),
        }
    };
    if stem.is_empty() {
        return Err("an option needs a name before its mark");
    }
    let inside = stem.strip_suffix('=').unwrap_or(stem);
    if syntax.bundles() && !stem.starts_with(['-', '+']) {
        return Err("options begin with a dash or a plus");
    }
    if inside.contains(['=', ';']) || (inside.contains('?') && syntax.bundles() && inside.len() > 2) {
        return Err("a mark stands at a name's end only");
    }
    if syntax == Syntax::None {
        return Err("with the syntax `none` there are no options");
    }
    match stem.strip_prefix("--[no-]") {
        Some(rest) => Ok((vec![format!("--{rest}"), format!("--no-{rest}")], takes)),
        None => Ok((vec![stem.to_owned()], takes)),
    }
}

/// How many strings say what an option does.
fn values(takes: Takes) -> usize {
    match takes {
        Takes::Several(count) => count,
        Takes::Nothing | Takes::One | Takes::Perhaps | Takes::UpToSemicolon | Takes::Rest => 1,
    }
}

fn add_option(entry: &mut Entry, node: &Node<'_>, name: &str, does: impl Fn(Takes) -> Vec<Does>, faults: &mut Faults) {
    let (names, takes) = match spelled(name, entry.syntax) {
        Ok(spelled) => spelled,
        Err(why) => return faults.push(node.fault(format!("{name:?} is not an option's name: {why}"))),
    };
    let does = does(takes);
    if let Some(why) = misfit(takes, &does) {
        faults.push(node.fault(format!("{name:?}: {why}")));
    }
    for name in names {
        if entry.options.insert(name.clone(), Opt { takes, does: does.clone() }).is_some() {
            faults.push(node.fault(format!("the option {name:?} stands here twice")));
        }
    }
}

/// Why what an option does cannot be done with what it takes.
fn misfit(takes: Takes, does: &[Does]) -> Option<&'static str> {
    if does.len() != values(takes) {
        return Some("needs one string for each of its values");
    }
    let mut all = does.iter().flatten();
    match takes {
        Takes::UpToSemicolon | Takes::Rest => None,
        Takes::Nothing => all
            .any(|doing| !matches!(doing, Doing::Effect(_) | Doing::Nothing | Doing::Script))
            .then_some("says what is done with a value, and has none"),
        Takes::One | Takes::Several(_) | Takes::Perhaps => all
            .any(|doing| matches!(doing, Doing::Command | Doing::Arguments))
            .then_some("`command` and `arguments` need the mark ; or ..."),
    }
}

fn option_does(node: &Node<'_>, faults: &mut Faults) -> Vec<Does> {
    if let Some(text) = node.as_str() {
        return vec![does(node, text, faults)];
    }
    let mut all = Vec::new();
    for node in faults.keep(node.filled_list()).unwrap_or_default() {
        if let Some(text) = faults.keep(node.string()) {
            all.push(does(&node, text, faults));
        }
    }
    all
}

/// One string: all that is done with a word.
fn does(node: &Node<'_>, text: &str, faults: &mut Faults) -> Does {
    let mut does = Does::new();
    for word in text.split_whitespace() {
        match Doing::of(word) {
            Some(doing) => does.push(doing),
            None => faults.push(node.fault(format!("{word:?} is not in this version")).hint(known())),
        }
    }
    if does.is_empty() {
        faults.push(node.fault("says nothing").hint("write \"nothing\" for what is of no interest"));
    }
    does
}

fn known() -> String {
    let effects = super::EffectKind::WORDS.iter().map(|(word, _)| *word);
    let words: Vec<&str> = effects.chain(Doing::WORDS.iter().map(|(word, _)| *word)).collect();
    format!("known: {}", crate::model::join(&words))
}

fn one_word(keys: &mut Keys<'_>, key: &'static str, faults: &mut Faults) -> Option<Does> {
    let node = keys.take(key)?;
    let text = faults.keep(node.string())?;
    let does = does(&node, text, faults);
    if let Some(why) = misfit(Takes::One, std::slice::from_ref(&does)) {
        faults.push(node.fault(why));
    }
    Some(does)
}

/// What is done where there is no word to do it with.
fn without_word(keys: &mut Keys<'_>, key: &'static str, faults: &mut Faults) -> Option<Does> {
    let node = keys.take(key)?;
    let text = faults.keep(node.string())?;
    let does = does(&node, text, faults);
    if misfit(Takes::Nothing, std::slice::from_ref(&does)).is_some() {
        faults.push(node.fault("says what is done with a word, and there is none here"));
    }
    Some(does)
}

fn operands(keys: &mut Keys<'_>, faults: &mut Faults) -> Option<Places> {
    let node = keys.take("operands")?;
    let mut places = Places::default();
    for place in faults.keep(node.list())? {
        let Some(text) = faults.keep(place.string()) else { continue };
        let (text, any) = match text.strip_suffix("...") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let does = does(&place, text, faults);
        let tail =
            [(Doing::Command, Tail::Command), (Doing::Arguments, Tail::Arguments), (Doing::Script, Tail::Script)]
                .into_iter()
                .find(|(doing, _)| does.contains(doing) && (any || *doing != Doing::Script))
                .map(|(_, tail)| tail);
        if tail.is_some() && (!any || does.len() > 1) {
            faults.push(place.fault("`command...`, `script...` and `arguments...` stand alone, with their dots"));
        }
        if places.tail.is_some() {
            faults.push(place.fault("nothing can stand behind words that take all that follow"));
        }
        match (any, places.any.is_some()) {
            (false, false) => places.first.push(does),
            (false, true) => places.last.push(does),
            (true, false) => (places.any, places.tail) = (Some(does), tail),
            (true, true) => faults.push(place.fault("only one place can stand for any number of words")),
        }
    }
    Some(places)
}

fn when(mut keys: Keys<'_>, entry: &Entry, above: &[&Entry], faults: &mut Faults) -> When {
    let mut when = When::default();
    let condition = |node: &Node<'_>, faults: &mut Faults| -> BTreeSet<String> {
        let text = faults.keep(node.filled_string()).unwrap_or_default();
        let names: BTreeSet<String> = text.split_whitespace().map(str::to_owned).collect();
        for name in &names {
            let globals = above.iter().rev().take_while(|parent| parent.global);
            if !std::iter::once(entry).chain(globals.copied()).any(|entry| entry.options.contains_key(name)) {
                faults.push(node.fault(format!("{name:?} is not an option of this entry")).hint("without its mark"));
            }
        }
        names
    };
    let (has, lacks) = (keys.take("has"), keys.take("lacks"));
    if has.is_none() && lacks.is_none() {
        faults.push(keys.fault("neither `has` nor `lacks` says when"));
    }
    if let Some(node) = has {
        if node.as_str().is_some() {
            when.has.push(condition(&node, faults));
        } else {
            for node in faults.keep(node.filled_list()).unwrap_or_default() {
                when.has.push(condition(&node, faults));
            }
        }
    }
    if let Some(node) = lacks {
        when.lacks = condition(&node, faults);
    }
    when.does = without_word(&mut keys, "does", faults).unwrap_or_default();
    when.bare = without_word(&mut keys, "bare", faults);
    when.operands = operands(&mut keys, faults);
    for (spelling, node) in tables(&mut keys, "options", faults) {
        let does = option_does(&node, faults);
        for name in spelling.split_whitespace() {
            if let Some(fault) = changed(&mut when, entry, &node, name, &does) {
                faults.push(fault);
            }
        }
    }
    keys.finish(&[], faults);
    when
}

/// Takes over what an option does under some others.
fn changed(when: &mut When, entry: &Entry, node: &Node<'_>, name: &str, does: &[Does]) -> Option<Fault> {
    let (names, takes) = match spelled(name, entry.syntax) {
        Ok(spelled) => spelled,
        Err(why) => return Some(node.fault(format!("{name:?} is not an option's name: {why}"))),
    };
    for name in names {
        match entry.options.get(&name) {
            Some(option) if option.takes == takes => when.options.insert(name, does.to_vec()),
            Some(_) => return Some(node.fault(format!("{name:?} has another mark in the entry itself"))),
            None => return Some(node.fault(format!("{name:?} is not an option of this entry"))),
        };
    }
    misfit(takes, does).map(|why| node.fault(format!("{name:?}: {why}")))
}
