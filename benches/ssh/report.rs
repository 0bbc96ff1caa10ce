//! Medians, ratios, the table and the JSON.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::lanes::Lane;
use crate::machine::{beside, load, machine};

/// What column "first" of the goals asks of a row.
#[derive(Clone, Copy)]
pub enum Goal {
    /// The ratio to direct (`d`) or jump (`j`), or the figure itself (`=`), is at least this.
    AtLeast(&'static str, f64),
    /// The same, at most this.
    AtMost(&'static str, f64),
}

/// A measure's figures, one per lane.
struct Row {
    measure: String,
    unit: &'static str,
    figures: Vec<(Lane, f64)>,
    goals: Vec<Goal>,
    /// The lanes that the goals are for.
    judged: Vec<Lane>,
}

/// All that was measured.
pub struct Report {
    lanes: Vec<Lane>,
    rows: Vec<Row>,
    machine: String,
}

impl Report {
    pub fn new(lanes: &[Lane]) -> Self {
        Self { lanes: lanes.to_vec(), rows: Vec::new(), machine: machine() }
    }

    /// Cores, load and what of the CPU the ciphers use.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// Adds a row of medians; `goals` are for `judged`.
    pub fn row(
        &mut self,
        measure: impl Into<String>,
        unit: &'static str,
        figures: &[(Lane, f64)],
        judged: &[Lane],
        goals: &[Goal],
    ) {
        let (figures, judged, goals) = (figures.to_vec(), judged.to_vec(), goals.to_vec());
        let row = Row { measure: measure.into(), unit, figures, goals, judged };
        eprintln!("    {}", line(&row, &self.lanes));
        self.rows.push(row);
    }

    /// The table, for people.
    pub fn table(&self) -> String {
        let mut table = format!("\n{:<44}", "measure (d: to direct, j: to jump)");
        for lane in &self.lanes {
            table += &format!("{:>24}", lane.name());
        }
        table += "   first\n";
        for row in &self.rows {
            table += &line(row, &self.lanes);
            table.push('\n');
        }
        table
    }

    /// Writes the JSON beside what cargo builds.
    pub fn write(&self, quick: bool) -> PathBuf {
        let rows: Vec<Value> = self.rows.iter().map(|row| as_json(row, &self.lanes)).collect();
        let all = json!({ "machine": self.machine, "after": load(), "quick": quick, "rows": rows });
        let file = beside("bench.json");
        std::fs::write(&file, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
        file
    }
}

impl Row {
    fn figure(&self, lane: Lane) -> Option<f64> {
        self.figures.iter().find(|(of, _)| *of == lane).map(|(_, figure)| *figure)
    }

    fn ratio(&self, lane: Lane, to: Lane) -> Option<f64> {
        Some(self.figure(lane)? / self.figure(to).filter(|figure| *figure > 0.0)?)
    }

    /// Whether every judged lane that was measured reaches the goal; `None` if none was.
    fn met(&self, goal: Goal) -> Option<bool> {
        let (Goal::AtLeast(kind, bound) | Goal::AtMost(kind, bound)) = goal;
        let figures: Vec<f64> = self
            .judged
            .iter()
            .filter_map(|lane| match kind {
                "d" => self.ratio(*lane, Lane::Direct),
                "j" => self.ratio(*lane, Lane::Jump),
                _ => self.figure(*lane),
            })
            .collect();
        let meets = |figure: &f64| match goal {
            Goal::AtLeast(..) => *figure >= bound,
            Goal::AtMost(..) => *figure <= bound,
        };
        (!figures.is_empty()).then(|| figures.iter().all(meets))
    }
}

fn goal_text(row: &Row, goal: Goal) -> String {
    let (sign, kind, bound) = match goal {
        Goal::AtLeast(kind, bound) => (">=", kind, bound),
        Goal::AtMost(kind, bound) => ("<=", kind, bound),
    };
    let what = if kind == "=" { format!("{sign} {bound} {}", row.unit) } else { format!("{sign} {bound} {kind}") };
    let verdict = row.met(goal).map_or("not measured", |met| if met { "met" } else { "MISSED" });
    format!("{what} {verdict}")
}

fn line(row: &Row, lanes: &[Lane]) -> String {
    let mut text = format!("{:<44}", format!("{}, {}", row.measure, row.unit));
    for lane in lanes {
        let Some(figure) = row.figure(*lane) else {
            text += &format!("{:>24}", "-");
            continue;
        };
        let ratio = |to: Lane, sign: char| match row.ratio(*lane, to).filter(|_| *lane != to) {
            Some(ratio) => format!(" {ratio:.2}{sign}"),
            None => String::new(),
        };
        if figure == 0.0 {
            text += &format!("{:>24}", "none");
            continue;
        }
        let digits = if figure < 10.0 { 2 } else { 0 };
        let cell = format!("{figure:.digits$}{}{}", ratio(Lane::Direct, 'd'), ratio(Lane::Jump, 'j'));
        text += &format!("{cell:>24}");
    }
    let goals: Vec<String> = row.goals.iter().map(|goal| goal_text(row, *goal)).collect();
    format!("{text}   {}", goals.join(", "))
}

fn as_json(row: &Row, lanes: &[Lane]) -> Value {
    let lanes: serde_json::Map<String, Value> = lanes
        .iter()
        .filter_map(|lane| {
            let figure = row.figure(*lane)?;
            let ratios = (row.ratio(*lane, Lane::Direct), row.ratio(*lane, Lane::Jump));
            Some((lane.name().to_owned(), json!({ "figure": figure, "to_direct": ratios.0, "to_jump": ratios.1 })))
        })
        .collect();
    let goals: Vec<Value> =
        row.goals.iter().map(|goal| json!({ "first": goal_text(row, *goal), "met": row.met(*goal) })).collect();
    json!({ "measure": row.measure, "unit": row.unit, "lanes": lanes, "goals": goals })
}

/// The middle of the sorted figures.
pub fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

/// The figure that this part of all is at most.
pub fn quantile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}
