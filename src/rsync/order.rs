//! The order in which both sides number a list's files (rsync's flist.c: `f_name_cmp()`).

/// A file of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
}

/// What a file is, as far as its place and its transfer go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    /// A file whose content can be sent.
    Regular,
    Other,
}

impl Place {
    /// Whether rsync leaves the name as it is before it compares (`clean_fname()`).
    pub(super) fn is_clean(&self) -> bool {
        let mut parts = self.name.strip_prefix(b"/").unwrap_or(&self.name).split(|byte| *byte == b'/').peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            // A dot stays at the end.
            if part.is_empty() || part == b".." || (part == b"." && !is_last) {
                return false;
            }
        }
        true
    }

    /// By what rsync orders files: at each step of the path files come before folders, and a folder before what is in it;
    /// what a name is shorter by counts as a slash for a folder, else as nothing.
    pub(super) fn key(&self) -> Vec<u8> {
        const FILE: u8 = 0;
        const FOLDER: u8 = 1;
        let mut key = Vec::with_capacity(self.name.len().saturating_add(8));
        let mut parts = self.name.split(|byte| *byte == b'/').peekable();
        while let Some(part) = parts.next() {
            let is_folder = parts.peek().is_some() || self.kind == Kind::Folder;
            // A folder's dot is the folder.
            if parts.peek().is_none() && is_folder && part == b"." {
                break;
            }
            key.push(if is_folder { FOLDER } else { FILE });
            key.extend_from_slice(part);
            key.push(if is_folder { b'/' } else { 0 });
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `f_name_cmp()` was asked (rsync 3.5.0, `--list-only -r` of such a tree).
    #[test]
    fn files_come_before_folders_and_a_folder_before_what_is_in_it() {
        let wanted = [
            "./",
            "-dash",
            "a",
            "a.b",
            "ab",
            "zz",
            "-x/",
            "-x/f",
            "deep.x/",
            "deep.x/a",
            "deep/",
            "deep/z",
            "deep/a.d/",
            "deep/a.d/f",
            "deep/a/",
            "deep/a/f",
            "deep0/",
            "deep0/f",
        ];
        let place = |name: &&str| match name.strip_suffix('/') {
            Some(folder) => Place { name: folder.into(), kind: Kind::Folder },
            None => Place { name: (*name).into(), kind: Kind::Regular },
        };
        let ordered: Vec<Place> = wanted.iter().map(place).collect();
        let mut places = ordered.clone();
        places.reverse();
        places.sort_by_cached_key(Place::key);
        assert_eq!(places, ordered);
    }
}
