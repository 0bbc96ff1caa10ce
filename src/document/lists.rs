//! Lists and tables of names: each bad one is a fault of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::{Faults, Node};
use crate::model::InvalidName;

/// A list of known words, at least one.
pub(crate) fn words<T: Copy + Ord>(node: &Node<'_>, known: &[(&str, T)], faults: &mut Faults) -> Option<BTreeSet<T>> {
    let items = faults.keep(node.filled_list())?;
    let read: Vec<_> = items.iter().map(|item| faults.keep(item.word(known))).collect();
    read.into_iter().collect()
}

/// A list of names, at least one.
pub(crate) fn names<T: Ord>(
    node: &Node<'_>,
    parse: fn(&str) -> Result<T, InvalidName>,
    faults: &mut Faults,
) -> Option<BTreeSet<T>> {
    let items = faults.keep(node.filled_list())?;
    parse_all(&items, parse, "name each one; patterns are not supported here", faults)
}

/// Parses every item; `patterns` is the hint for one with a `*` or `$` in it.
pub(crate) fn parse_all<T: Ord>(
    items: &[Node<'_>],
    parse: fn(&str) -> Result<T, InvalidName>,
    patterns: &str,
    faults: &mut Faults,
) -> Option<BTreeSet<T>> {
    let read = items.iter().map(|item| {
        let pattern = item.as_str().is_some_and(|text| text.contains(['*', '$', '?']));
        faults.keep(item.name(parse).map_err(|fault| if pattern { fault.hint(patterns) } else { fault }))
    });
    // Two steps, so that a first bad name does not hide the second.
    let read: Vec<Option<T>> = read.collect();
    read.into_iter().collect()
}

/// Labels of a target, by name.
pub(crate) fn read_labels(node: &Node<'_>, faults: &mut Faults) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut good = true;
    for (key, node) in faults.keep(node.table())?.rest() {
        match node.filled_string() {
            Ok(value) if value.contains('*') => {
                good = false;
                faults.push(node.fault("a label's value is compared as it stands; `*` is no pattern here"));
            }
            Ok(value) => drop(labels.insert(key.to_owned(), value.to_owned())),
            Err(fault) => {
                good = false;
                faults.push(fault);
            }
        }
    }
    good.then_some(labels)
}
