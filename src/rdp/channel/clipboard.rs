//! The clipboard (MS-RDPECLIP): formats that may pass, in each direction, and what was pasted.
//!
//! Who copies tells the other side which formats there are (section 2.2.3.1); nothing passes before the other side asks
//! for one of them (section 2.2.5.1). So lists are cut down to what may pass, and what asks for anything else is
//! answered with a refusal in the place of the side that was asked, which never learns of it.

use std::collections::{BTreeMap, VecDeque};

use super::super::fact::{Fact, Side, TEXT_BYTES_MAX};
use super::super::fields::{Fields, narrow, wide};
use super::super::rules::{Clip, DesktopRules};
use super::Answer;
use super::chunk::Message;

const MONITOR_READY: u16 = 1;
const FORMAT_LIST: u16 = 2;
const FORMAT_LIST_RESPONSE: u16 = 3;
const DATA_REQUEST: u16 = 4;
const DATA_RESPONSE: u16 = 5;
const TEMP_DIRECTORY: u16 = 6;
const CAPABILITIES: u16 = 7;
const FILE_REQUEST: u16 = 8;
const FILE_RESPONSE: u16 = 9;
const LOCK: u16 = 10;
const UNLOCK: u16 = 11;

const OK: u16 = 1;
const FAIL: u16 = 2;
const ASCII_NAMES: u16 = 4;

/// Section 2.2.2.1.1.1.
const LONG_NAMES: u32 = 0x2;
/// Files as streams, without paths, with locks and with lengths of 64 bits.
const FILES: u32 = 0x4 | 0x8 | 0x10 | 0x20;

/// `CF_TEXT`, `CF_OEMTEXT`, `CF_UNICODETEXT`.
const TEXTS: [u32; 3] = [1, 7, UNICODE_TEXT];
const UNICODE_TEXT: u32 = 13;

/// The format under which names of files are pasted (section 1.3.1.1.2).
const FILE_NAMES: &str = "FileGroupDescriptorW";

/// A list of more formats is none.
const FORMATS_MAX: usize = 256;

/// So many questions may be unanswered.
const PENDING_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Clipboard {
    user: End,
    target: End,
    bytes_max: u64,
}

/// One side, and what it has copied.
#[derive(Debug)]
struct End {
    /// What of it may pass to the other side.
    may: Clip,
    /// Whether it said that it knows long names.
    long_names: bool,
    /// The formats that the other side was told of, and their names.
    offered: BTreeMap<u32, String>,
    /// How many of its lists wait for the other side's answer.
    lists: u32,
    /// Whether a list of it has passed.
    listed: bool,
    /// Formats that it was asked for, in order.
    asked: VecDeque<u32>,
    /// Pieces of files that it was asked for, by their streams.
    asked_files: VecDeque<u32>,
    /// Bytes of files that it has given in this session. Not since its last list: who wants more would copy again.
    file_bytes: u64,
}

impl End {
    fn new(may: Clip) -> Self {
        Self {
            may,
            long_names: false,
            offered: BTreeMap::new(),
            lists: 0,
            listed: false,
            asked: VecDeque::new(),
            asked_files: VecDeque::new(),
            file_bytes: 0,
        }
    }

    fn offers_files(&self) -> bool {
        self.may == Clip::All && self.offered.values().any(|name| name == FILE_NAMES)
    }
}

/// A message's parts (section 2.2.1).
struct Parts<'a> {
    kind: u16,
    flags: u16,
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(message);
        let (kind, flags, length) = (fields.u16()?, fields.u16()?, fields.length()?);
        // Some programs pad their messages.
        Some(Self { kind, flags, body: fields.take(length)? })
    }
}

impl Clipboard {
    pub(super) fn new(rules: &DesktopRules) -> Self {
        Self {
            user: End::new(rules.clipboard_in),
            target: End::new(rules.clipboard_out),
            bytes_max: rules.clipboard_bytes_max,
        }
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::User => &mut self.user,
            Side::Target => &mut self.target,
        }
    }

    fn passes_files(&self) -> bool {
        self.user.may == Clip::All || self.target.may == Clip::All
    }

    pub(super) fn take(&mut self, from: Side, message: &Message, held: bool, answer: &mut Answer<'_>) {
        let bytes = &message.bytes;
        let parts = match Parts::read(bytes) {
            Some(parts) => parts,
            // Of a paste that is too long the beginning is here, and whoever waits for it gets an answer.
            None if message.too_long => match Fields::new(bytes).u16() {
                Some(kind) => Parts { kind, flags: OK, body: bytes.get(8..).unwrap_or_default() },
                None => return,
            },
            None => return answer.drop(from, "it is shorter than it says"),
        };
        match (parts.kind, from) {
            (DATA_RESPONSE, _) => self.data(from, &parts, message, held, answer),
            (FILE_RESPONSE, _) => self.file_data(from, &parts, message, held, answer),
            _ if message.too_long => answer.drop(from, "it is longer than any that is relayed"),
            (MONITOR_READY, Side::Target) => answer.pass(from, bytes),
            (CAPABILITIES, _) => self.capabilities(from, &parts, answer),
            (FORMAT_LIST, _) => self.list(from, &parts, answer),
            (FORMAT_LIST_RESPONSE, _) => {
                let other = self.end(from.other());
                if other.lists > 0 {
                    other.lists = other.lists.saturating_sub(1);
                    answer.pass(from, &packet(FORMAT_LIST_RESPONSE, parts.flags & (OK | FAIL), &[]));
                }
            }
            (DATA_REQUEST, _) => self.request(from, &parts, held, answer),
            (FILE_REQUEST, _) => self.file_request(from, &parts, held, answer),
            (LOCK | UNLOCK, _) if self.end(from.other()).may == Clip::All => answer.pass(from, bytes),
            // It names a folder of the user's machine, and is only for the oldest way of copying files.
            (LOCK | UNLOCK | TEMP_DIRECTORY, _) => {}
            (kind, _) => answer.drop(from, &format!("no message of the clipboard is of type {kind} from there")),
        }
    }

    /// Section 2.2.2.1: what this side knows, without files where none may pass.
    fn capabilities(&mut self, from: Side, parts: &Parts<'_>, answer: &mut Answer<'_>) {
        let mut fields = Fields::new(parts.body);
        let general = (|| {
            let (sets, _pad) = (fields.u16()?, fields.u16()?);
            let (kind, _length, version, flags) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
            (sets > 0 && kind == 1).then_some((version, flags))
        })();
        let Some((version, flags)) = general else {
            return answer.drop(from, "its capabilities cannot be read");
        };
        self.end(from).long_names = flags & LONG_NAMES != 0;
        let known = LONG_NAMES | if self.passes_files() { FILES } else { 0 };
        let mut body = Vec::new();
        for number in [1_u16, 0, 1, 12] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        body.extend_from_slice(&version.to_le_bytes());
        body.extend_from_slice(&(flags & known).to_le_bytes());
        answer.pass(from, &packet(CAPABILITIES, 0, &body));
    }

    /// A side has copied something.
    fn list(&mut self, from: Side, parts: &Parts<'_>, answer: &mut Answer<'_>) {
        let long = self.user.long_names && self.target.long_names;
        let Some(formats) = read_list(parts, long) else {
            answer.drop(from, "its list of formats cannot be read");
            return answer.send(from, &packet(FORMAT_LIST_RESPONSE, FAIL, &[]));
        };
        let end = self.end(from);
        let first = !std::mem::replace(&mut end.listed, true);
        end.offered = match end.may {
            Clip::Off => BTreeMap::new(),
            Clip::Text => {
                let texts = formats.into_keys().filter(|format| TEXTS.contains(format));
                texts.map(|format| (format, String::new())).collect()
            }
            Clip::All => formats,
        };
        // The user's first list is what the target waits for before it begins. Any other one that may not pass must not
        // make the other side take its own clipboard for emptied.
        if end.may == Clip::Off && !(first && from == Side::User) {
            return answer.send(from, &packet(FORMAT_LIST_RESPONSE, OK, &[]));
        }
        end.lists = end.lists.saturating_add(1);
        let body = write_list(&end.offered, long);
        answer.pass(from, &packet(FORMAT_LIST, 0, &body));
    }

    /// `from` wants what the other side has copied.
    fn request(&mut self, from: Side, parts: &Parts<'_>, held: bool, answer: &mut Answer<'_>) {
        let Some(format) = Fields::new(parts.body).u32() else {
            return answer.drop(from, "its question names no format");
        };
        let asked = self.end(from.other());
        let refused = if held {
            "the session is held"
        } else if !asked.offered.contains_key(&format) {
            "the rule lets no such format through"
        } else if asked.asked.len() >= PENDING_MAX {
            "too many questions are unanswered"
        } else {
            asked.asked.push_back(format);
            return answer.pass(from, &packet(DATA_REQUEST, 0, &format.to_le_bytes()));
        };
        let refused = Some(refused.to_owned());
        answer.tell(&Fact::Clipboard { to: from, format, bytes: 0, text: None, files: Vec::new(), refused });
        answer.send(from, &packet(DATA_RESPONSE, FAIL, &[]));
    }

    /// `from` gives what it was asked for.
    fn data(&mut self, from: Side, parts: &Parts<'_>, message: &Message, held: bool, answer: &mut Answer<'_>) {
        let bytes_max = self.bytes_max;
        let end = self.end(from);
        let Some(format) = end.asked.pop_front() else {
            return answer.drop(from, "nobody has asked for this");
        };
        if parts.flags & OK == 0 {
            return answer.pass(from, &packet(DATA_RESPONSE, FAIL, &[]));
        }
        let bytes = u64::try_from(parts.body.len()).unwrap_or(u64::MAX);
        let refused = if held {
            Some("the session is held")
        } else if message.too_long || bytes > bytes_max {
            Some("it is larger than the rule lets through")
        } else {
            None
        };
        let name = end.offered.get(&format).map(String::as_str).unwrap_or_default();
        let (text, files) = match refused {
            None => contents(format, name, parts.body),
            Some(_) => (None, Vec::new()),
        };
        let told = refused.map(str::to_owned);
        answer.tell(&Fact::Clipboard { to: from.other(), format, bytes, text, files, refused: told });
        match refused {
            None => answer.pass(from, &packet(DATA_RESPONSE, OK, parts.body)),
            Some(_) => answer.send(from.other(), &packet(DATA_RESPONSE, FAIL, &[])),
        }
    }

    /// `from` wants a piece of a file that the other side has copied (section 2.2.5.3).
    fn file_request(&mut self, from: Side, parts: &Parts<'_>, held: bool, answer: &mut Answer<'_>) {
        let Some(stream) = Fields::new(parts.body).u32() else {
            return answer.drop(from, "its question names no stream");
        };
        let asked = self.end(from.other());
        if held || !asked.offers_files() || asked.asked_files.len() >= PENDING_MAX {
            answer.drop(from, "no files may be asked for");
            return answer.send(from, &packet(FILE_RESPONSE, FAIL, &stream.to_le_bytes()));
        }
        asked.asked_files.push_back(stream);
        answer.pass(from, &packet(FILE_REQUEST, 0, parts.body));
    }

    /// `from` gives a piece of a file. All that it gives in the session is what is limited.
    fn file_data(&mut self, from: Side, parts: &Parts<'_>, message: &Message, held: bool, answer: &mut Answer<'_>) {
        let bytes_max = self.bytes_max;
        let end = self.end(from);
        let mut fields = Fields::new(parts.body);
        let asked = fields.u32().and_then(|stream| {
            let at = end.asked_files.iter().position(|asked| *asked == stream)?;
            end.asked_files.remove(at)
        });
        let Some(stream) = asked else {
            return answer.drop(from, "nobody has asked for this");
        };
        let bytes = u64::try_from(fields.rest().len()).unwrap_or(u64::MAX);
        end.file_bytes = end.file_bytes.saturating_add(bytes);
        let why = match () {
            () if held => Some("the session is held"),
            () if message.too_long || end.file_bytes > bytes_max => {
                Some("the files are larger than the rule lets through")
            }
            () => None,
        };
        if let Some(why) = why {
            answer.drop(from, why);
            return answer.send(from.other(), &packet(FILE_RESPONSE, FAIL, &stream.to_le_bytes()));
        }
        answer.pass(from, &packet(FILE_RESPONSE, parts.flags & (OK | FAIL), parts.body));
    }
}

/// A message.
fn packet(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&kind.to_le_bytes()[..], &flags.to_le_bytes(), &length.to_le_bytes(), body].concat()
}

/// Formats and their names (section 2.2.3.1).
fn read_list(parts: &Parts<'_>, long: bool) -> Option<BTreeMap<u32, String>> {
    let (mut fields, mut formats) = (Fields::new(parts.body), BTreeMap::new());
    while !fields.is_empty() {
        let format = fields.u32()?;
        let name = if long {
            fields.wide()
        } else if parts.flags & ASCII_NAMES != 0 {
            narrow(fields.take(32)?)
        } else {
            wide(fields.take(32)?)
        };
        formats.insert(format, name);
        if formats.len() > FORMATS_MAX {
            return None;
        }
    }
    Some(formats)
}

fn write_list(formats: &BTreeMap<u32, String>, long: bool) -> Vec<u8> {
    let mut body = Vec::new();
    for (format, name) in formats {
        body.extend_from_slice(&format.to_le_bytes());
        let units = name.encode_utf16();
        if long {
            units.chain([0]).for_each(|unit| body.extend_from_slice(&unit.to_le_bytes()));
        } else {
            // Sixteen units with a null at the end.
            let padded = units.take(15).chain(std::iter::repeat(0)).take(16);
            padded.for_each(|unit| body.extend_from_slice(&unit.to_le_bytes()));
        }
    }
    body
}

/// The text of what was pasted, or the names of its files.
fn contents(format: u32, name: &str, body: &[u8]) -> (Option<String>, Vec<String>) {
    if name == FILE_NAMES {
        return (None, file_names(body));
    }
    if !TEXTS.contains(&format) {
        return (None, Vec::new());
    }
    let mut text = if format == UNICODE_TEXT { wide(body) } else { narrow(body) };
    // A character has at most four bytes, and no cut is inside one.
    let cut = (0..4).filter_map(|less| TEXT_BYTES_MAX.checked_sub(less)).find(|cut| text.is_char_boundary(*cut));
    if let Some(cut) = cut.filter(|cut| *cut < text.len()) {
        text.truncate(cut);
    }
    (Some(text), Vec::new())
}

/// Section 2.2.5.2.3: a count, and 592 bytes for each file, of which the last 520 are its name.
fn file_names(body: &[u8]) -> Vec<String> {
    const NAMES_MAX: usize = 1000;
    let mut fields = Fields::new(body);
    let _count = fields.u32();
    let mut names = Vec::new();
    while names.len() < NAMES_MAX
        && let Some(file) = fields.take(592)
    {
        names.push(wide(file.get(72..).unwrap_or_default()));
    }
    names
}
