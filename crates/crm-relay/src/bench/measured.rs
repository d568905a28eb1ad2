//! What was measured, in words and as JSON, with what held each row back.

use std::time::Duration;

use serde_json::{Value, json};

use super::{processor::Busy, waits::Waits};
use crate::render::{style, table, visible::visible};

/// From this share on a processor is what was short.
const BUSY: f64 = 0.85;
/// Load of a machine, for each of its cores, from which on what was measured is said to be less than it can.
const LOAD_MAX: f64 = 0.5;

/// All of it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) machine: Machine,
    /// At the same time.
    pub(crate) senders: usize,
    /// Bytes of a body.
    pub(crate) bytes: usize,
    pub(crate) fsync: Waits,
    pub(crate) accepted: Vec<AcceptedRow>,
    pub(crate) delivered: DeliveredRow,
    pub(crate) arrival: ArrivalRow,
    /// Bytes that stay of a webhook.
    pub(crate) stored: f64,
}

/// Those that a server took in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptedRow {
    /// At the same time.
    pub(crate) senders: usize,
    pub(crate) waits: Waits,
    /// How busy the processor was; `None` where the kernel does not say.
    pub(crate) busy: Option<Busy>,
    /// Bytes given to the disk for each; `None` where the kernel does not say.
    pub(crate) written: Option<f64>,
}

/// Those that came to the target, as many as came through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveredRow {
    pub(crate) per_second: f64,
    /// As of those that were accepted; so is what was written.
    pub(crate) busy: Option<Busy>,
    pub(crate) written: Option<f64>,
    /// How many of those that were sent had not arrived long after.
    pub(crate) missing: usize,
}

/// Those that came evenly, from when they were to be sent to their arrival.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArrivalRow {
    pub(crate) waits: Waits,
    /// As of those that were accepted, for all of their way.
    pub(crate) written: Option<f64>,
    /// How many had not arrived long after: they count as on their way for as long as was waited.
    pub(crate) missing: usize,
}

/// What it was measured on.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) file_system: Option<String>,
    pub(crate) is_memory: bool,
    /// Before the start; `None` where the kernel does not say.
    pub(crate) load: Option<f64>,
}

impl Machine {
    /// This one.
    pub(crate) fn here(file_system: Option<&str>, is_memory: bool) -> Self {
        let name = rustix::system::uname();
        let [system, release, machine] =
            [name.sysname(), name.release(), name.machine()].map(|part| visible(&part.to_string_lossy()).into_owned());
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: format!("{system} {release} {machine}"),
            file_system: file_system.map(str::to_owned),
            is_memory,
            load: load.and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }
}

impl Measured {
    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let waits = |waits: &Waits| json!({"per_second": rounded(waits.per_second), "p50_ms": ms(waits.p50), "p99_ms": ms(waits.p99)});
        let accepted = self.accepted.iter().map(|found| {
            let mut row = waits(&found.waits);
            row["senders"] = json!(found.senders);
            row["processor_busy"] = json!(found.busy.map(|busy| rounded(busy.cores)));
            row["busiest_thread"] = json!(found.busy.map(|busy| rounded(busy.thread)));
            row["written_bytes_per_event"] = json!(found.written.map(rounded));
            row
        });
        let mut arrival = waits(&self.arrival.waits);
        arrival["written_bytes_per_event"] = json!(self.arrival.written.map(rounded));
        arrival["missing"] = json!(self.arrival.missing);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": {
                "cores": self.machine.cores,
                "kernel": self.machine.kernel,
                "file_system": self.machine.file_system,
                "is_memory": self.machine.is_memory,
                "load": self.machine.load,
            },
            "senders": self.senders,
            "bytes": self.bytes,
            "fsync": waits(&self.fsync),
            "accepted": accepted.collect::<Vec<_>>(),
            "delivered": {
                "per_second": rounded(self.delivered.per_second),
                "processor_busy": self.delivered.busy.map(|busy| rounded(busy.cores)),
                "busiest_thread": self.delivered.busy.map(|busy| rounded(busy.thread)),
                "missing": self.delivered.missing,
                "written_bytes_per_event": self.delivered.written.map(rounded),
            },
            "arrival": arrival,
            "stored_bytes_per_event": rounded(self.stored),
        })
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        let headings = ["what", "a second", "p50", "p99", "written for each", "held back by"];
        format!("{}\n\n{}", table::wrapped(&headings, &self.rows()), table::remarks(&self.facts()))
    }

    /// What makes these numbers smaller than those of the machine at work.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.machine.is_memory {
            doubts.push("this directory is in memory, so that no disk was measured: --dir names one on the disk that DATA_DIR is to be on".to_owned());
        }
        if let Some(load) = self.machine.load.filter(|load| *load > LOAD_MAX * self.machine.cores as f64) {
            doubts.push(format!("the machine was at work before the start (load {load}): it can do more"));
        }
        let missing = self.delivered.missing + self.arrival.missing;
        if missing > 0 {
            doubts.push(format!(
                "{missing} of what was sent had not arrived after 20 s; they count as on their way for so long: the client or the machine stood still"
            ));
        }
        if cfg!(debug_assertions) {
            doubts.push(
                "this program is built for its developers: one built with make release does several times as much"
                    .to_owned(),
            );
        }
        doubts
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let dash = || "-".to_owned();
        let row = |what: String, found: &Waits, written: Option<f64>, why: String| {
            vec![what, count(found.per_second), span(found.p50), span(found.p99), written.map_or_else(dash, size), why]
        };
        let mut rows = vec![row("one fsync".to_owned(), &self.fsync, None, self.medium().to_owned())];
        rows.extend(self.accepted.iter().map(|found| {
            row(format!("accepted, {}", of_senders(found.senders)), &found.waits, found.written, self.why(found))
        }));
        let DeliveredRow { per_second, busy, written, .. } = self.delivered;
        let why = busy_in_words(busy).unwrap_or_else(|| "steps that wait for each other".to_owned());
        let written = written.map_or_else(dash, size);
        rows.push(vec!["delivered".to_owned(), count(per_second), dash(), dash(), written, why]);
        let pace = "nothing: it is the pace at which they were sent".to_owned();
        rows.push(row("sent to arrived".to_owned(), &self.arrival.waits, self.arrival.written, pace));
        rows
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let Machine { cores, kernel, file_system, load, .. } = &self.machine;
        let kept = format!("{} stay: a million take {}", size(self.stored), size(self.stored * 1e6));
        let load = load.map(|load| format!(", load {load} before the start")).unwrap_or_default();
        vec![
            ("a webhook", format!("{} of body; on the disk {kept}", size(self.bytes as f64))),
            ("machine", format!("{cores} cores, {kernel}{load}")),
            ("disk", file_system.clone().unwrap_or_else(|| "of a kind that the kernel does not say".to_owned())),
        ]
    }

    fn medium(&self) -> &'static str {
        if self.machine.is_memory { "memory, and no disk" } else { "the disk" }
    }

    /// What held a row of accepted ones back: the processor or one thread if it was busy, the disk if what a webhook waits is mostly commits.
    fn why(&self, found: &AcceptedRow) -> String {
        let AcceptedRow { senders, waits, busy, .. } = *found;
        if let Some(words) = busy_in_words(busy) {
            return words;
        }
        // Of several each waits for the commit that is under way, and for its own.
        let commits = if senders == 1 { 1 } else { 2 };
        match (self.fsync.p50 * commits * 2 >= waits.p50, senders) {
            (true, 1) => format!("{}: an fsync for each", self.medium()),
            (true, _) => format!("{}: an fsync for some together", self.medium()),
            (false, 1) => "one after the other".to_owned(),
            (false, _) => "steps that wait for each other".to_owned(),
        }
    }
}

fn busy_in_words(busy: Option<Busy>) -> Option<String> {
    let Busy { cores, thread, whose } = busy?;
    if cores >= BUSY {
        return Some(format!("the processor: {:.0} % busy", cores * 100.0));
    }
    (thread >= BUSY).then(|| format!("a thread of {whose}: {:.0} % of a core", thread * 100.0))
}

/// What follows from it.
pub(crate) fn next_step() -> String {
    style::dim("what it means for a relay, and what to reckon with: docs/operating/sizing.md")
}

fn of_senders(senders: usize) -> String {
    if senders == 1 { "1 sender".to_owned() } else { format!("{senders} senders") }
}

/// `12,300`: three figures, more of them are of this run only.
fn count(number: f64) -> String {
    if number < 10.0 {
        return format!("{number:.1}");
    }
    let unit = 10_f64.powi((number.log10().floor() as i32 - 2).max(0));
    let digits = format!("{:.0}", (number / unit).round() * unit);
    let with_commas = digits.bytes().rev().enumerate().flat_map(|(at, digit)| {
        let comma = (at > 0 && at % 3 == 0).then_some(',');
        comma.into_iter().chain([char::from(digit)])
    });
    let reversed: String = with_commas.collect();
    reversed.chars().rev().collect()
}

fn span(span: Duration) -> String {
    match span.as_secs_f64() * 1e3 {
        ms if ms < 0.1 => format!("{:.0} us", ms * 1e3),
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// `1.9 KB`: powers of ten, as disks are sold.
fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1e3 => format!("{bytes:.0} bytes"),
        bytes if bytes < 1e6 => format!("{:.1} KB", bytes / 1e3),
        bytes if bytes < 1e9 => format!("{:.0} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(per_second: f64, p50: u64, p99: u64) -> Waits {
        Waits { per_second, p50: Duration::from_micros(p50), p99: Duration::from_micros(p99) }
    }

    fn accepted(senders: usize, waits: Waits, cores: f64, written: Option<f64>) -> AcceptedRow {
        AcceptedRow { senders, waits, busy: Some(Busy { cores, thread: cores, whose: "the server" }), written }
    }

    fn sample() -> Measured {
        Measured {
            machine: Machine {
                cores: 2,
                kernel: "Linux 6.18 x86_64".to_owned(),
                file_system: Some("ext4".to_owned()),
                is_memory: false,
                load: Some(0.4),
            },
            senders: 16,
            bytes: 1024,
            fsync: waits(4_512.3, 210, 900),
            accepted: vec![
                accepted(1, waits(3_107.0, 310, 1_200), 0.4, Some(31_000.0)),
                accepted(16, waits(22_040.0, 700, 23_000), 0.97, Some(8_510.0)),
            ],
            delivered: DeliveredRow { per_second: 9_140.0, busy: None, written: None, missing: 0 },
            arrival: ArrivalRow { waits: waits(1_000.0, 800, 1_300_000), written: Some(52_000.0), missing: 0 },
            stored: 1_904.0,
        }
    }

    #[test]
    fn each_row_says_what_held_it_back() {
        let told: Vec<String> = sample().rows().iter().map(|row| row.join(" | ")).collect();
        assert_eq!(
            told,
            [
                "one fsync | 4,510 | 0.21 ms | 0.90 ms | - | the disk",
                "accepted, 1 sender | 3,110 | 0.31 ms | 1.20 ms | 31.0 KB | the disk: an fsync for each",
                "accepted, 16 senders | 22,000 | 0.70 ms | 23 ms | 8.5 KB | the processor: 97 % busy",
                "delivered | 9,140 | - | - | - | steps that wait for each other",
                "sent to arrived | 1,000 | 0.80 ms | 1.3 s | 52.0 KB | nothing: it is the pace at which they were sent",
            ]
        );
        let why = |fsync, p50, senders| {
            Measured { fsync: waits(1.0, fsync, fsync), ..sample() }.why(&accepted(
                senders,
                waits(1.0, p50, p50),
                0.5,
                None,
            ))
        };
        assert_eq!(why(10, 300, 1), "one after the other");
        assert_eq!(why(200, 700, 16), "the disk: an fsync for some together");
        assert_eq!(why(10, 700, 16), "steps that wait for each other");
        // On eight cores a server that its one writer holds up leaves most of them idle.
        let busy = |cores, thread| busy_in_words(Some(Busy { cores, thread, whose: "the server" }));
        assert_eq!(busy(0.3, 0.96).as_deref(), Some("a thread of the server: 96 % of a core"));
        assert_eq!((busy(0.97, 0.96).as_deref(), busy(0.3, 0.5)), (Some("the processor: 97 % busy"), None));
    }

    /// It differs by a factor of eight, so that one figure would be wrong for most.
    #[test]
    fn what_is_written_is_told_of_each_row_to_scripts_too() {
        let told = sample().json();
        let written = |row: &Value| row["written_bytes_per_event"].as_f64();
        let rows = [&told["accepted"][0], &told["accepted"][1], &told["delivered"], &told["arrival"]];
        assert_eq!(rows.map(written), [Some(31_000.0), Some(8_510.0), None, Some(52_000.0)]);
    }

    #[test]
    fn what_a_webhook_takes_is_told_by_the_million() {
        let facts = sample().facts();
        assert_eq!(facts[0].1, "1.0 KB of body; on the disk 1.9 KB stay: a million take 1.9 GB");
        assert_eq!(facts[1].1, "2 cores, Linux 6.18 x86_64, load 0.4 before the start");
    }

    #[test]
    fn numbers_that_say_less_than_they_seem_are_doubted() {
        let of = |is_memory, load| {
            let measured = sample();
            let machine = Machine { is_memory, load, ..measured.machine };
            let doubts = Measured { machine, ..measured }.doubts();
            doubts.iter().filter(|doubt| !doubt.contains("make release")).count()
        };
        let missing = ArrivalRow { missing: 3, ..sample().arrival };
        assert!(Measured { arrival: missing, ..sample() }.doubts()[0].starts_with("3 of what was sent"));
        assert_eq!((of(false, None), of(false, Some(0.4)), of(false, Some(1.5)), of(true, Some(1.5))), (0, 0, 1, 2));
    }

    #[test]
    fn numbers_are_as_exact_as_they_are_worth() {
        let told = [0.0, 1.26, 15.4, 999.6, 1_234.0, 1_234_567.0].map(count);
        assert_eq!(told, ["0.0", "1.3", "15", "1,000", "1,230", "1,230,000"]);
        let told = [1, 99, 100, 9_900, 15_400, 1_300_000].map(|micros| span(Duration::from_micros(micros)));
        assert_eq!(told, ["1 us", "99 us", "0.10 ms", "9.90 ms", "15 ms", "1.3 s"]);
    }
}
