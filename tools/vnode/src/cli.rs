// SPDX-License-Identifier: GPL-2.0

//! The command line: the one definition of verbs and options, of which the help, the man pages
//! and the shell completions are made.

mod bridge;
mod network;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use adeos_proto::abi;
use adeos_proto::cpuset::{CpuSet, ParseError};
use adeos_proto::id::VnodeName;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use bridge::{BridgeArgs, BridgeCommand, BridgeCreateArgs, BridgeRemoveArgs};
pub(crate) use network::{NetworkAddArgs, NetworkCommand, NetworkNameArgs};

use crate::limits;
use crate::settings::{Entry, Placement};
use crate::size;

/// Exit statuses, at the end of the help and of the manual page.
const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  the operation failed, or `check` found errors
  2  the command line makes no sense
  3  there is no vnode, or bridge, of that name
  4  not supported: the kernel modules are not loaded, or of another version
  5  it did not happen in time
`vnode exec` exits with the status of its command: 126 if it cannot be run, 127 if it is not
found, 128 + N if signal N ended it, and 255 if the vnode cannot be reached or dies.";

/// What ends `supervise`, and with which status.
const SUPERVISE_STATUS: &str = "\
Signals:
  SIGINT, SIGTERM  end the supervisor; the vnodes run on
  SIGHUP           makes it read the file anew
Exit status:
  0  a signal has ended it
  1  the file has errors or conflicts with what runs, another supervisor is there, or the kernel
     modules do not answer any more
  2  the command line makes no sense
  4  not supported: the kernel modules are not loaded, or of another version";

/// Splits one machine into several independent Linux kernels.
///
/// A vnode is a Linux kernel with CPUs and memory of its own, started beside this one, the root.
/// Wherever a NAME is asked for, a number does as well (`2` or `#2`); names go first.
#[derive(Parser)]
#[command(
    name = "vnode",
    disable_version_flag = true,
    arg_required_else_help = true
)]
#[command(after_help = EXIT_STATUS, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print the version of the tool and of each interface that it shares with the kernel
    #[arg(short = 'V', long)]
    pub(crate) version: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Look for mistakes in a cluster file; needs no modules
    Check(CheckArgs),
    /// Start the vnodes of a cluster file that do not run, and make its bridges for programs
    Apply(ApplyArgs),
    /// Start the vnodes of a cluster file, and restart those that end as the file says
    ///
    /// Begins as `vnode apply` does. Then it waits, in the foreground, and restarts what ends, as
    /// `restart` and `restart-limit` of the file say: after 1 second, then 2, 4 and so on up to 60;
    /// a vnode that has run for 60 seconds begins anew. What was ended by `vnode stop` or `vnode
    /// kill` stays away until somebody starts it. Each event is a line.
    #[command(after_help = SUPERVISE_STATUS)]
    Supervise(SuperviseArgs),
    /// List the root and its vnodes
    List(JsonArgs),
    /// Tell all about one vnode
    Show(ShowArgs),
    /// Start a vnode
    Start(StartArgs),
    /// Ask a vnode to shut down, then take back its CPUs and memory
    Stop(StopArgs),
    /// Take back a vnode's CPUs and memory, whatever it does
    ///
    /// Its CPUs are stopped, whatever they execute, and its memory is scrubbed. Only a vnode that
    /// is being loaded at this moment is left to whoever loads it.
    Kill(NameArgs),
    /// Stop a vnode and start it with the same settings
    Restart(RestartArgs),
    /// Wait until a vnode is ready, or until it has ended
    Wait(WaitArgs),
    /// Run a command in a vnode
    Exec(ExecArgs),
    /// Sit in front of a vnode's console, or show what it has said
    #[command(after_help = CONSOLE_HELP)]
    Console(ConsoleArgs),
    /// Tell what the machine has to lend
    Info(JsonArgs),
    /// Look at bridges, the named memory that vnodes share; in any vnode
    #[command(subcommand, after_help = EXIT_STATUS)]
    Bridge(BridgeCommand),
    /// Put this vnode on network segments, and list who is there; in any vnode
    #[command(subcommand, after_help = network::HELP)]
    Network(NetworkCommand),
    /// Serve `vnode exec`; runs in each vnode
    Agent,
    /// Print a completion script
    Completions {
        /// Shell that it is for
        shell: Shell,
    },
    /// Write the manual pages to a folder, or this command's to stdout
    Man {
        /// Folder for one page per verb
        dir: Option<PathBuf>,
    },
    /// Make a step of the next start fail, to test what becomes of the steps before it
    #[command(hide = true)]
    Fault {
        /// Number of the step, 0 for none
        #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(abi::step::LAST)))]
        step: u32,
    },
}

/// Options of verbs that only print.
#[derive(Args)]
pub(crate) struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of verbs that need a name only.
#[derive(Args)]
pub(crate) struct NameArgs {
    /// Name or number of the vnode
    pub(crate) name: String,
}

/// Options of `check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The cluster file
    #[arg(value_name = "FILE", default_value = "cluster.toml")]
    pub(crate) file: PathBuf,
    /// Print the findings as a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `apply`.
#[derive(Args)]
pub(crate) struct ApplyArgs {
    /// The cluster file
    #[arg(value_name = "FILE", default_value = "cluster.toml")]
    pub(crate) file: PathBuf,
    /// Only tell what would be done
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Take back and start anew the running vnodes that differ from the file
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) boot: BootArgs,
}

/// Options of `supervise`.
#[derive(Args)]
pub(crate) struct SuperviseArgs {
    /// The cluster file
    #[arg(value_name = "FILE", default_value = "cluster.toml")]
    pub(crate) file: PathBuf,
    /// Take back and start anew the running vnodes that differ from the file
    #[arg(long)]
    pub(crate) replace: bool,
    /// Print events as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `show`.
#[derive(Args)]
pub(crate) struct ShowArgs {
    /// Name or number of the vnode
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How long and for what a verb that starts vnodes waits.
#[derive(Args)]
pub(crate) struct BootArgs {
    /// Return as soon as the kernel is on its way, instead of when it takes commands
    #[arg(long, conflicts_with_all = ["timeout", "kill_on_failure"])]
    pub(crate) no_wait: bool,
    /// Longest wait for readiness, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
    /// Take a vnode back that does not get ready, instead of leaving it to be looked at
    #[arg(long)]
    pub(crate) kill_on_failure: bool,
    /// Print what was started as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `start`.
#[derive(Args)]
pub(crate) struct StartArgs {
    /// Name for the vnode
    #[arg(value_parser = parse_name)]
    pub(crate) name: String,
    /// CPUs to take from the root, like 2-3,5; the lowest boots
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    pub(crate) cpus: CpuSet,
    /// Memory, like 512M or 2G; a multiple of 2M, at least 64M
    #[arg(long, value_name = "SIZE", value_parser = size::parse_memory)]
    pub(crate) memory: u64,
    /// Kernel image (bzImage) [default: the root's, /boot/vmlinuz-$(uname -r) or /boot/vmlinuz]
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// Initial RAM disk, or `none` [default: /boot/initrd.img-$(uname -r) or /boot/initrd.img]
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,
    /// Text to add to the kernel's command line
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        hide_default_value = true
    )]
    #[arg(allow_hyphen_values = true, value_parser = limits::parse_append)]
    pub(crate) append: String,
    /// How the kernel is entered; an unpatched one needs `sipi`
    #[arg(long, value_enum, default_value_t = Entry::Image)]
    pub(crate) entry: Entry,
    /// Physical address of the memory
    #[arg(long, value_name = "ADDRESS", value_parser = size::parse_base, group = "place")]
    pub(crate) memory_base: Option<u64>,
    /// Take memory wholly below 4 GiB
    #[arg(long, group = "place")]
    below_4g: bool,
    /// Take memory wholly above 4 GiB
    #[arg(long, group = "place")]
    above_4g: bool,
    #[command(flatten)]
    pub(crate) boot: BootArgs,
}

impl StartArgs {
    /// Where the memory may lie.
    pub(crate) fn placement(&self) -> Placement {
        match (self.below_4g, self.above_4g) {
            (true, _) => Placement::Below4g,
            (_, true) => Placement::Above4g,
            _ => Placement::Any,
        }
    }
}

/// Options of `stop`.
#[derive(Args)]
pub(crate) struct StopArgs {
    /// Name or number of the vnode
    pub(crate) name: String,
    /// Longest wait for the shutdown, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) timeout: u64,
}

/// Options of `restart`.
#[derive(Args)]
pub(crate) struct RestartArgs {
    /// Name or number of the vnode
    pub(crate) name: String,
    /// Take the vnode back by force instead of asking it to shut down
    #[arg(long)]
    pub(crate) force: bool,
    /// Longest wait for the shutdown, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) stop_timeout: u64,
    #[command(flatten)]
    pub(crate) boot: BootArgs,
}

/// What `wait` can wait for.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Goal {
    /// Its user space takes commands
    Ready,
    /// It has ended, or was taken back
    Dead,
}

/// Options of `wait`.
#[derive(Args)]
pub(crate) struct WaitArgs {
    /// Name or number of the vnode
    pub(crate) name: String,
    /// What to wait for
    #[arg(long = "for", value_enum, value_name = "GOAL", default_value = "ready")]
    pub(crate) goal: Goal,
    /// Longest wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
}

/// Options of `exec`.
#[derive(Args)]
pub(crate) struct ExecArgs {
    /// Name or number of the vnode
    pub(crate) name: String,
    /// Give the command no input, and leave ours to others
    #[arg(short = 'n', long)]
    pub(crate) no_stdin: bool,
    /// Set a variable in the command's environment
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub(crate) env: Vec<String>,
    /// Folder of the vnode to run the command in [default: /]
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// What `console` does, in full.
const CONSOLE_HELP: &str = "\
At a terminal, with vcons.ko loaded, one sits in front of the console: what the vnode says is
shown, and what is typed goes there. At the beginning of a line

  ~.  leaves                 ~t  takes the keyboard from whoever has it
  ~n  goes to the next one   ~b  sends a break
  ~l  lists the consoles     ~~  types one ~
  ~?  tells this

Any number of people look at a console, one of them types. When the terminal of that one goes away
the vnode's programs are told, as by a telephone line that hangs up; with --hang-up also when it
is left. Otherwise, and with --follow or
--lines, it is printed: all that the vnode's kernel has said since its first message, also when it
is dead; with --terminal what its programs have said as well.";

/// Options of `console`.
#[derive(Args)]
pub(crate) struct ConsoleArgs {
    /// Name of the vnode; or its number, which works for one taken back until it is used again
    #[arg(required_unless_present_any = ["all", "on"])]
    pub(crate) name: Option<String>,
    /// Print the consoles of all vnodes, each line with the name in front
    #[arg(short, long, conflicts_with_all = ["name", "lines", "raw", "terminal", "no_input", "steal", "log"])]
    pub(crate) all: bool,
    /// Give a terminal, a serial line for example, to all consoles, until somebody leaves there by `~.`
    #[arg(long, value_name = "TTY", conflicts_with_all = ["name", "all", "follow", "lines", "raw", "terminal", "no_input", "steal", "log"])]
    pub(crate) on: Option<PathBuf>,
    /// Go on with what the vnode says from now on, until it ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin with the last N lines instead of all
    #[arg(short = 'l', long, value_name = "N")]
    pub(crate) lines: Option<usize>,
    /// Pass control characters to a terminal instead of showing them as `^[`
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print what the terminal has shown, programs too, instead of the kernel's messages
    #[arg(short, long, conflicts_with_all = ["no_input", "steal", "log"])]
    pub(crate) terminal: bool,
    /// Only look: whatever is typed, the vnode does not get it
    #[arg(short, long, conflicts_with_all = ["steal", "follow"])]
    pub(crate) no_input: bool,
    /// Take the keyboard from whoever has it
    #[arg(short, long, conflicts_with = "follow")]
    pub(crate) steal: bool,
    /// Hang up when leaving, or going on to the next console: a shell that was logged in there ends.
    /// A terminal that goes away hangs up in any case
    #[arg(long, conflicts_with_all = ["all", "on", "follow", "terminal", "no_input", "allow"])]
    pub(crate) hang_up: bool,
    /// Say which other vnodes may look at this console, and with `:w` type: `two,three:w`, or `none`
    #[arg(long, value_name = "VNODES", value_parser = crate::console::allow::Guests::parse,
          conflicts_with_all = ["all", "on", "follow", "lines", "raw", "terminal", "no_input", "steal", "log"])]
    pub(crate) allow: Option<crate::console::allow::Guests>,
    /// Append all that is shown to a file
    #[arg(long, value_name = "FILE", conflicts_with = "follow")]
    pub(crate) log: Option<PathBuf>,
}

fn parse_name(name: &str) -> Result<String, String> {
    VnodeName::new(name).map_err(|error| limits::name_error(name, error))?;
    Ok(name.to_owned())
}

fn parse_cpus(list: &str) -> Result<CpuSet, String> {
    let cpus = CpuSet::parse(list).map_err(|error: ParseError| limits::cpu_error(list, error))?;
    if cpus.contains(0) {
        return Err("CPU 0 is the root's".into());
    }
    Ok(cpus)
}

fn parse_variable(variable: &str) -> Result<String, String> {
    match variable.split_once('=') {
        Some((name, _)) if !name.is_empty() && !variable.contains('\0') => Ok(variable.to_owned()),
        _ => Err("write NAME=VALUE".into()),
    }
}
