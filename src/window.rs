//! Hours of the week in a named time zone. Pure.
//!
//! A window is what the clock on the wall there shows. Where that shows an hour twice (the end of summer time), the
//! narrower reading counts: a window begins at the later of the two and ends at the earlier, or if that leaves nothing,
//! lies whole within the later. Where an hour is left out, what would begin or end in it does so at the jump.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::document::{Fault, Faults, Node};
use crate::model::Timestamp;

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];
/// Minutes of a day on the wall.
const DAY: i64 = 24 * 60;
const AT_END: &[(&str, AtEnd)] = &[("end", AtEnd::End), ("keep", AtEnd::Keep)];

/// A rule's `when`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// INVARIANT: at least one.
    days: Vec<Weekday>,
    /// From this minute of each of the days on.
    from: i64,
    /// To before this one, 1440 at most; of the next day, if it is not after `from`. INVARIANT: it is another one.
    to: i64,
    zone: TimeZone,
    at_end: AtEnd,
}

/// What becomes of live sessions when a window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// They end.
    End,
    /// They go on.
    Keep,
}

/// It is not open then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shut;

impl Window {
    /// What becomes of live sessions when it ends.
    pub fn at_end(&self) -> AtEnd {
        self.at_end
    }

    /// Until when it stays open if it is open at `now`: `None`, for ever. Days that meet are one window.
    ///
    /// # Errors
    /// `Shut`, also at times of which no calendar knows.
    pub fn open_until(&self, now: Timestamp) -> Result<Option<Timestamp>, Shut> {
        if self.days.len() == DAYS.len() && (self.from, self.to) == (0, DAY) {
            return Ok(None);
        }
        let moment = jiff::Timestamp::from_millisecond(now.as_millis()).map_err(|_| Shut)?;
        let today = moment.to_zoned(self.zone.clone()).date();
        let mut open: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (from, to) in self.around(today).into_iter().filter_map(|(from, to)| self.read_narrowly(from, to)) {
            // One that ends in an hour that is left out may meet one that begins in it.
            match open.last_mut().filter(|(_, end)| *end >= from) {
                Some((_, end)) => *end = to.max(*end),
                None => open.push((from, to)),
            }
        }
        let now_open = open.into_iter().find(|(from, to)| *from <= now && now < *to);
        now_open.map(|(_, to)| Some(to)).ok_or(Shut)
    }

    /// When it is open around this day, as the wall shows it.
    fn around(&self, today: Date) -> Vec<(DateTime, DateTime)> {
        let mut open: Vec<(DateTime, DateTime)> = Vec::new();
        // One that crosses midnight began the day before; six days may meet.
        for day in (-2_i64..=8).filter_map(|away| today.checked_add(away.days()).ok()) {
            if !self.days.contains(&day.weekday()) {
                continue;
            }
            let last = if self.to <= self.from { self.to.saturating_add(DAY) } else { self.to };
            let midnight = day.to_datetime(jiff::civil::Time::midnight());
            let [from, to] = [self.from, last].map(|minutes| midnight.checked_add(minutes.minutes()));
            let (Ok(from), Ok(to)) = (from, to) else { continue };
            match open.last_mut().filter(|(_, end)| *end >= from) {
                Some((_, end)) => *end = to,
                None => open.push((from, to)),
            }
        }
        open
    }

    fn read_narrowly(&self, from: DateTime, to: DateTime) -> Option<(Timestamp, Timestamp)> {
        let ((_, from), (earlier, later)) = (self.readings(from)?, self.readings(to)?);
        let to = if earlier > from { earlier } else { later };
        (from < to).then_some((from, to))
    }

    /// The earlier and the later moment at which the wall shows this.
    fn readings(&self, wall: DateTime) -> Option<(Timestamp, Timestamp)> {
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        let (earlier, later) = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                (ambiguous.earlier().ok()?, ambiguous.later().ok()?)
            }
            AmbiguousOffset::Gap { .. } => {
                // By the offset after it, the wall's time lies before the jump.
                let jump = self.zone.following(ambiguous.earlier().ok()?).next()?.timestamp();
                (jump, jump)
            }
        };
        Some((Timestamp::from_millis(earlier.as_millisecond()), Timestamp::from_millis(later.as_millisecond())))
    }

    pub(crate) fn read(node: &Node<'_>, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let days = table.take("days").map(|node| faults.keep(read_days(&node)));
        let hours = table.take("hours").map(|node| faults.keep(read_hours(&node)));
        let zone = table.need("zone", faults).and_then(|node| faults.keep(read_zone(&node)));
        let at_end = table.read("live", AtEnd::End, faults, |node| node.word(AT_END));
        table.finish(&[], faults);
        if days.is_none() && hours.is_none() {
            faults.push(node.fault("says no time").hint("write days = \"Mon-Fri\", hours = \"08:00-18:00\" or both"));
            return None;
        }
        let days = days.unwrap_or_else(|| Some(DAYS.iter().map(|(_, day)| *day).collect()))?;
        let (from, to) = hours.unwrap_or(Some((0, DAY)))?;
        Some(Self { days, from, to, zone: zone?, at_end })
    }
}

/// Such as `Mon-Fri`, `Mon,Wed` or `Sat-Mon,Wed`.
fn read_days(node: &Node<'_>) -> Result<Vec<Weekday>, Fault> {
    let text = node.string()?;
    let bad = |part: &str| {
        node.fault(format!("{part:?} is no day of the week")).hint("write Mon, Tue, Wed, Thu, Fri, Sat, Sun; Mon-Fri")
    };
    let known: BTreeMap<&str, usize> = DAYS.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
    let number = |name: &str| known.get(name.trim()).copied().ok_or_else(|| bad(name));
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        let count = (last + DAYS.len() - first) % DAYS.len() + 1;
        for (_, day) in DAYS.iter().cycle().skip(first).take(count) {
            if days.contains(day) {
                return Err(node.fault(format!("{text:?} names a day twice")));
            }
            days.push(*day);
        }
    }
    Ok(days)
}

/// Such as `08:00-18:00`, or over midnight `22:00-06:00`.
fn read_hours(node: &Node<'_>) -> Result<(i64, i64), Fault> {
    let text = node.string()?;
    let bad = || node.fault(format!("{text:?} are no hours")).hint("write 08:00-18:00; 24:00 may be the end");
    let (from, to) = text.split_once('-').ok_or_else(bad)?;
    let (from, to) = (minutes(from).ok_or_else(bad)?, minutes(to).ok_or_else(bad)?);
    if from == DAY {
        return Err(bad());
    }
    if from == to {
        let hint = "write 00:00-24:00 for whole days, or leave `hours` out";
        return Err(node.fault(format!("{text:?} is empty")).hint(hint));
    }
    // Midnight as the end is the day's own.
    Ok((from, if to == 0 { DAY } else { to }))
}

fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let number = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let all = hours.checked_mul(60)?.checked_add(minutes)?;
    (minutes < 60 && all <= DAY).then_some(all)
}

/// A zone by its name in the system's database. One that is not there is a fault of the file: a window in a zone that
/// nobody knows would be open, or shut, at the wrong hours.
fn read_zone(node: &Node<'_>) -> Result<TimeZone, Fault> {
    let name = node.string()?;
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown() && !name.starts_with("right/"));
    zone.ok_or_else(|| {
        node.fault(format!("{name:?} is no time zone that this machine knows"))
            .hint("write such as Europe/Paris; if that is one, install tzdata")
    })
}

#[cfg(test)]
impl Window {
    pub(crate) fn of_text(text: &str) -> Result<Self, String> {
        use crate::document::Document;
        let (mut faults, text) = (Faults::default(), format!("when = {text}\n"));
        let document = Document::parse("a.toml", &text, &mut faults).ok_or("no TOML")?;
        let window = document.root().take("when").and_then(|node| Self::read(&node, &mut faults));
        let told: String = faults.into_sorted().iter().map(|fault| format!("{fault} {:?}\n", fault.hint)).collect();
        window.filter(|_| told.is_empty()).ok_or(told)
    }
}
