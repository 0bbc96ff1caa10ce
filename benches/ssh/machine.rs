//! Where figures were taken, their goals, and the file they are kept in: shared by all benches.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::path::PathBuf;

use serde_json::{Value, json};

/// Figures of one program, each with its goal, if it has one.
pub struct Figures {
    name: &'static str,
    machine: String,
    rows: Vec<Value>,
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Bound {
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Figures {
    /// Of the bench `name`. Prints the machine.
    pub fn new(name: &'static str) -> Self {
        let machine = machine();
        println!("{machine}");
        Self { name, machine, rows: Vec::new() }
    }

    /// Adds a figure, and prints it.
    pub fn row(&mut self, measure: &str, unit: &str, figure: f64, bound: Bound) {
        let (goal, met) = match bound {
            Bound::None => (None, None),
            Bound::AtLeast(goal) => (Some(format!(">= {goal} {unit}")), Some(figure >= goal)),
            Bound::AtMost(goal) => (Some(format!("<= {goal} {unit}")), Some(figure <= goal)),
        };
        let verdict =
            goal.as_ref().map(|goal| format!("   {goal} {}", if met == Some(true) { "met" } else { "MISSED" }));
        let digits = if figure < 100.0 { 2 } else { 0 };
        println!("{measure:<52}{figure:10.digits$} {unit}{}", verdict.unwrap_or_default());
        self.rows.push(json!({ "measure": measure, "unit": unit, "figure": figure, "goal": goal, "met": met }));
    }

    /// Writes them beside what cargo builds, as `bench-NAME.json`.
    pub fn write(self) {
        let all = json!({ "machine": self.machine, "after": load(), "rows": self.rows });
        let file = beside(&format!("bench-{}.json", self.name));
        std::fs::write(&file, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
        println!("written to {}", file.display());
    }
}

/// A file in the target folder: a bench lies in TARGET/release/deps/.
pub fn beside(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join(name)
}

/// Cores, load and what of the CPU the ciphers use.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field =
        |name: &str| cpu.lines().find_map(|line| line.strip_prefix(name)?.split_once(": ").map(|(_, text)| text));
    let flags = field("flags").unwrap_or_default();
    let has: Vec<&str> = ["aes", "vaes", "sha_ni", "avx2", "avx512f"]
        .into_iter()
        .filter(|flag| flags.split(' ').any(|f| f == *flag))
        .collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores, {}, cpu flags {}", field("model name").unwrap_or("cpu"), load(), has.join(" "))
}

/// How many programs want the processor, beside the bench: figures of a busy machine tell little.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load {}", load.split(' ').next().unwrap_or_default())
}

/// CPU time of this process so far, in seconds, to 10 ms.
pub fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // proc(5): after the name in parentheses; user and system time are the fields 14 and 15, in 1/100 s.
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
    fields.map(|field| field.parse::<f64>().unwrap() / 100.0).sum()
}
