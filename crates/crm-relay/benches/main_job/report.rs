//! The rows, for people and for programs.

use serde_json::{Value, json};

use crate::process::program;

/// All rows measured so far.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    ratio: Option<f64>,
    /// Smallest and largest ratio (or value, where there is none).
    spread: (f64, f64),
}

impl Report {
    /// Adds a row: the medians of `values` and `ratios`.
    pub(crate) fn add(&mut self, name: &str, values: &[f64], unit: &'static str, ratios: Option<&[f64]>) {
        let spread = ratios.unwrap_or(values);
        let fold = |pick: fn(f64, f64) -> f64| spread.iter().copied().reduce(pick).unwrap_or(f64::NAN);
        let row = Row {
            name: name.to_owned(),
            value: median(values),
            unit,
            ratio: ratios.map(median),
            spread: (fold(f64::min), fold(f64::max)),
        };
        eprintln!("{}", line(&row));
        self.rows.push(row);
    }

    /// The value of a row.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.name == name).map(|row| row.value)
    }

    /// Row `binary_size`.
    pub(crate) fn binary_size(&mut self) {
        let bytes = std::fs::metadata(program()).expect("it was built").len();
        self.add("binary_size", &[bytes as f64 / 1e6], "MB", None);
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!("{:<20} {:>12} {:<9} {:>7}   spread", "row", "value", "unit", "ratio");
        self.rows.iter().for_each(|row| println!("{}", line(row)));
    }

    /// Writes `target/bench/main-job.json`.
    pub(crate) fn write(&self) {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| json!({"name": row.name, "value": row.value, "unit": row.unit, "ratio": row.ratio}))
            .collect();
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
        std::fs::create_dir_all(&dir).expect("target is ours");
        let text = serde_json::to_string_pretty(&json!({ "rows": rows })).expect("plain values");
        std::fs::write(dir.join("main-job.json"), text).expect("target is ours");
        println!("written to target/bench/main-job.json");
    }
}

fn line(row: &Row) -> String {
    let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "{:<20} {:>12.2} {:<9} {ratio:>7}   {:.2} to {:.2}",
        row.name, row.value, row.unit, row.spread.0, row.spread.1
    )
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
