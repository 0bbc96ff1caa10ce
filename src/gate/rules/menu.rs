//! `[[menu]]`: named commands with a few parameters, for those who are shown nothing else. Read and checked here.

use std::collections::BTreeMap;

use crate::document::{Fault, Faults, Node, Table};
use crate::pattern::Pattern;

/// One entry of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Menu {
    /// The line it starts at.
    pub line: usize,
    /// Its name, as it is typed.
    pub name: String,
    /// What it does, for people.
    pub title: String,
    /// The program and its arguments; `{name}` stands for a parameter.
    pub run: Vec<String>,
    /// Its parameters.
    pub parameters: BTreeMap<String, Parameter>,
}

/// A parameter of a menu's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// What all of it must match.
    pub pattern: Pattern,
    /// What it is, for people.
    pub help: Option<String>,
    /// The line it stands in.
    pub line: usize,
}

impl Menu {
    pub(super) fn read(mut table: Table<'_>, faults: &mut Faults) -> Option<Self> {
        let line = table.line();
        let name = table.need("name", faults).and_then(|node| faults.keep(read_name(&node)));
        let title = table.need("title", faults).and_then(|node| faults.keep(read_line(&node)));
        let run_at = table.need("run", faults);
        let run = run_at.as_ref().and_then(|node| {
            let items = faults.keep(node.filled_list())?;
            let read: Vec<Option<String>> =
                items.iter().map(|item| faults.keep(item.string().map(str::to_owned))).collect();
            read.into_iter().collect::<Option<Vec<String>>>()
        });
        let mut parameters = Some(BTreeMap::new());
        for (key, node) in table.rest() {
            let parameter = read_parameter(&node, faults);
            parameters = parameters.zip(parameter).map(|(mut all, parameter)| {
                all.insert(key.to_owned(), parameter);
                all
            });
        }
        let (run, parameters) = (run?, parameters?);
        if let Some(node) = run_at {
            if !run.first().is_some_and(|program| program.starts_with('/') && !program.contains('{')) {
                faults.push(node.fault("begins with the full path of a program"));
            }
            let used: Vec<&str> = run.iter().filter_map(|word| placeholder(word)).collect();
            for name in &used {
                if !parameters.contains_key(*name) {
                    faults.push(
                        node.fault(format!("has {{{name}}}, and the entry has no `{name}`"))
                            .hint(format!("write {name} = {{ pattern = \"[a-z0-9-]{{1,40}}\", help = \"...\" }}")),
                    );
                }
            }
            for name in parameters.keys().filter(|name| !used.contains(&name.as_str())) {
                faults.push(node.fault(format!("has no {{{name}}}, and the entry has `{name}`")));
            }
        }
        Some(Self { line, name: name?, title: title?, run, parameters })
    }
}

/// The parameter's name in a word such as `{site}` or `--site={site}`.
fn placeholder(word: &str) -> Option<&str> {
    let (_, rest) = word.split_once('{')?;
    rest.split_once('}').map(|(name, _)| name)
}

fn read_name(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.filled_string()?;
    let good =
        text.len() <= 32 && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c));
    if good {
        Ok(text.to_owned())
    } else {
        Err(node.fault(format!("{text:?} is no name")).hint("use 1 to 32 of a-z 0-9 - _"))
    }
}

fn read_line(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.filled_string()?.trim();
    if text.chars().any(char::is_control) {
        return Err(node.fault("has characters that steer a terminal"));
    }
    Ok(text.to_owned())
}

fn read_parameter(node: &Node<'_>, faults: &mut Faults) -> Option<Parameter> {
    let mut table = faults.keep(node.table().map_err(|fault| fault.hint("a key here is a parameter's name")))?;
    let line = node.line();
    let pattern = table.need("pattern", faults).and_then(|node| {
        let read = node
            .filled_string()
            .and_then(|text| Pattern::parse(text).map_err(|why| node.fault(format!("{text:?} {why}"))));
        faults.keep(read)
    });
    let help = table.take("help").map_or(Some(None), |node| faults.keep(read_line(&node)).map(Some));
    table.finish(&[], faults);
    Some(Parameter { pattern: pattern?, help: help?, line })
}
