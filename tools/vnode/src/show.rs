// SPDX-License-Identifier: GPL-2.0

//! Telling what there is: `list`, `show`, `info` and `-V`.

use adeos_proto::cpuset::CpuSet;
use adeos_proto::{abi, layout};
use serde::Serialize;

use crate::cli::{JsonArgs, ShowArgs};
use crate::device::{self, Kmb};
use crate::exec::frame;
use crate::explain;
use crate::failure::{Context, Result};
use crate::say::{self, BAD, DOUBTFUL, GOOD, HEADING};
use crate::settings::{Note, Settings};
use crate::size;
use crate::vnode::{self, Report, Vnode};

/// Columns of `list`.
const COLUMNS: [&str; 7] = ["ID", "NAME", "STATE", "CPUS", "MEMORY", "UPTIME", "REASON"];

/// Lists the root and all vnodes.
pub(crate) fn list(args: &JsonArgs) -> Result<()> {
    let kmb = Kmb::open()?;
    let vnodes = Vnode::all(&kmb)?;
    let mut reports = vec![Report::root()];
    reports.extend(vnodes.iter().map(Vnode::report));
    if args.json {
        return say::json(&reports);
    }
    let rows: Vec<_> = reports.iter().map(row).collect();
    say::out(&table(&COLUMNS, &rows))
}

fn row(report: &Report) -> [String; 7] {
    [
        report.id.to_string(),
        report.name.clone(),
        report.state.to_owned(),
        report.cpus.clone(),
        round(report.memory_bytes),
        uptime(report.uptime_s),
        report.reason.clone().unwrap_or_else(|| "-".into()),
    ]
}

/// Aligns the columns; colour is put around padded text, so that it takes no room.
pub(crate) fn table<const N: usize>(columns: &[&str; N], rows: &[[String; N]]) -> String {
    let mut widths = columns.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    // Nothing follows the last column.
    if let Some(last) = widths.last_mut() {
        *last = 0;
    }
    let mut text = String::new();
    for (name, width) in columns.iter().zip(widths) {
        text += &format!("{HEADING}{name:width$}{HEADING:#}  ");
    }
    text = text.trim_end().to_owned() + "\n";
    for row in rows {
        let mut line = String::new();
        for ((column, cell), width) in columns.iter().zip(row).zip(widths) {
            let style = if *column == "STATE" {
                state_style(cell)
            } else {
                Default::default()
            };
            line += &format!("{style}{cell:width$}{style:#}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn state_style(state: &str) -> anstyle::Style {
    match state {
        "running" | "settled" => GOOD,
        "dead" | "failed" => BAD,
        _ => DOUBTFUL,
    }
}

/// A size for a column: whole units of what it mostly is.
fn round(bytes: u64) -> String {
    match bytes {
        0x4_0000_0000.. if bytes % (1 << 30) != 0 => format!("{}G", bytes >> 30),
        0x10_0000.. if bytes % (1 << 20) != 0 => format!("{}M", bytes >> 20),
        _ => size::show(bytes),
    }
}

/// A time as people say it: its two largest units.
fn uptime(seconds: f64) -> String {
    let whole = seconds as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86400);
    match whole {
        0..=9 => format!("{seconds:.1}s"),
        10..=59 => format!("{whole}s"),
        60..=3599 => format!("{minutes}m{:02}s", whole % 60),
        3600..=86399 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// What `show --json` prints.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    report: Report,
    /// How it was started, when this tool did it.
    settings: Option<Settings>,
}

/// Tells all about one vnode.
pub(crate) fn show(args: &ShowArgs) -> Result<()> {
    let kmb = Kmb::open()?;
    let (report, settings) = match Vnode::find(&kmb, &args.name) {
        Ok(vnode) => (vnode.report(), Note::of(&vnode).map(|note| note.settings)),
        // Names go first: a vnode may be called `0`.
        Err(_) if vnode::is_root(&args.name) => (Report::root(), None),
        Err(failure) => return Err(failure),
    };
    if args.json {
        return say::json(&Shown { report, settings });
    }
    let mut lines = facts(report);
    lines.extend(settings.map(origin).into_iter().flatten());
    say::out(&pairs(&lines))
}

/// What the kernel tells.
fn facts(report: Report) -> Vec<(&'static str, String)> {
    let suspicion = suspicion(&report);
    let or_dash = |text: String| if text.is_empty() { "-".into() } else { text };
    let beat = report.silent_ms.map(|ms| format!("{ms} ms ago"));
    let console = report.console_bytes.map(|count| format!("{count} bytes"));
    let mut memory = size::show(report.memory_bytes);
    if let Some(base) = report.memory_base {
        memory += &format!(" at {base:#x}");
    }
    vec![
        ("name", report.name),
        (
            "number",
            format!("{} (life {})", report.id, report.generation),
        ),
        ("state", format!("{} ({})", report.state, report.progress)),
        ("reason", or_dash(report.reason.unwrap_or_default())),
        ("suspicion", or_dash(suspicion)),
        ("CPUs", report.cpus),
        ("memory", memory),
        ("uptime", uptime(report.uptime_s)),
        ("kernel", or_dash(report.release)),
        (
            "entry",
            or_dash(report.entry.unwrap_or_default().to_owned()),
        ),
        ("features", or_dash(report.features.join(", "))),
        ("last beat", or_dash(beat.unwrap_or_default())),
        ("console", or_dash(console.unwrap_or_default())),
    ]
}

/// Why the root mistrusts it, and what follows from that; empty if it does not.
fn suspicion(report: &Report) -> String {
    let words = report.suspicion.unwrap_or_default().to_owned();
    if report.quarantined {
        words + " (in quarantine)"
    } else {
        words
    }
}

/// What a vnode was made of.
fn origin(settings: Settings) -> [(&'static str, String); 3] {
    let initrd = settings.initrd.map(|path| path.display().to_string());
    [
        ("image", settings.kernel.display().to_string()),
        ("initrd", initrd.unwrap_or_else(|| "none".into())),
        ("append", settings.append),
    ]
}

pub(crate) fn pairs(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        format!("{HEADING}{name:width$}{HEADING:#}  {value}")
            .trim_end()
            .to_owned()
            + "\n"
    };
    lines.iter().map(line).collect()
}

/// What `info --json` prints.
#[derive(Serialize)]
struct Machine {
    versions: Versions,
    max_vnodes: u32,
    vnodes: usize,
    pool_bytes: u64,
    pool_free_bytes: u64,
    pool_largest_bytes: u64,
    cpus_lendable: String,
    cpus_lent: String,
}

/// Tells what the machine has to lend.
pub(crate) fn info(args: &JsonArgs) -> Result<()> {
    let kmb = Kmb::open()?;
    let info = kmb.info().context(|| "the modules do not answer".into())?;
    let (lendable, lent) = (
        CpuSet::from_words(info.lendable),
        CpuSet::from_words(info.lent),
    );
    let machine = Machine {
        versions: Versions::of(Some(&info)),
        max_vnodes: info.max_vnodes,
        vnodes: Vnode::all(&kmb)?.len(),
        pool_bytes: info.pool_size,
        pool_free_bytes: info.pool_free,
        pool_largest_bytes: info.pool_largest,
        cpus_lendable: lendable.to_string(),
        cpus_lent: lent.to_string(),
    };
    if args.json {
        return say::json(&machine);
    }
    say::out(&pairs(&[
        ("CPUs to lend", explain::list(&lendable)),
        ("CPUs lent", explain::list(&lent)),
        ("pool", size::show(machine.pool_bytes)),
        ("free", size::show(machine.pool_free_bytes)),
        ("largest piece", size::show(machine.pool_largest_bytes)),
        (
            "vnodes",
            format!(
                "{} of {}",
                machine.vnodes,
                machine.max_vnodes.saturating_sub(1)
            ),
        ),
    ]))
}

/// Versions of the tool and of all that it shares with others.
#[derive(Serialize)]
struct Versions {
    tool: &'static str,
    abi: u32,
    layout: u32,
    exec: u32,
    module_abi: Option<u32>,
    module_layout: Option<u32>,
}

impl Versions {
    fn of(info: Option<&abi::Info>) -> Self {
        Self {
            tool: env!("CARGO_PKG_VERSION"),
            abi: abi::VERSION,
            layout: layout::VERSION,
            exec: frame::VERSION,
            module_abi: info.map(|info| info.abi_version),
            module_layout: info.map(|info| info.layout_version),
        }
    }
}

/// Tells the version of the tool and of each interface, and those of loaded modules.
pub(crate) fn version() -> Result<()> {
    let info = Kmb::open_any().ok().and_then(|kmb| kmb.info().ok());
    let versions = Versions::of(info.as_ref());
    let mut text = format!(
        "vnode {}\nioctl ABI {}\ncontrol area {}\nexec stream {}\n",
        versions.tool, versions.abi, versions.layout, versions.exec
    );
    match info {
        Some(info) => {
            text += &format!(
                "kmb.ko: ioctl ABI {}, control area {}\n",
                info.abi_version, info.layout_version
            );
        }
        None => text += "kmb.ko: not loaded\n",
    }
    if let Ok(Ok(me)) = device::whoami() {
        text += &format!("adeos_core.ko: ioctl ABI {}\n", me.abi_version);
    }
    say::out(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_fit_a_column() {
        assert_eq!(uptime(1.25), "1.2s");
        assert_eq!(uptime(61.0), "1m01s");
        assert_eq!(uptime(7260.0), "2h01m");
        assert_eq!(uptime(90000.0), "1d01h");
        assert_eq!(round(512 << 20), "512M");
        assert_eq!(round((512 << 20) + 1), "512M");
        assert_eq!(round((20 << 30) + 1), "20G");
    }

    #[test]
    fn a_table_lines_up() {
        let row = ["1", "db", "running", "2-3", "512M", "1.0s", "-"].map(String::from);
        let text = anstream::adapter::strip_str(&table(&COLUMNS, &[row])).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0].find("STATE"), lines[1].find("running"));
        assert_eq!(
            lines[0].find("REASON"),
            lines[1].find('-').map(|_| lines[1].len() - 1)
        );
    }
}
