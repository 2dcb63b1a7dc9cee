// SPDX-License-Identifier: GPL-2.0

//! Whole sessions over a socket pair, which closes as a channel does: real commands, both ends.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::*;
use agent::serve;

/// A channel with an agent at its other end.
fn channel() -> (File, JoinHandle<()>) {
    let (root, vnode) = UnixStream::pair().unwrap();
    let agent = thread::spawn(move || serve(File::from(OwnedFd::from(vnode))));
    (File::from(OwnedFd::from(root)), agent)
}

struct Ran {
    end: End,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn run_command(command: Command, input: Vec<u8>) -> Ran {
    let (root, agent) = channel();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let input = Box::new(Cursor::new(input));
    let end = talk(root, command, input, &mut stdout, &mut stderr).unwrap();
    agent.join().unwrap();
    Ran {
        end,
        stdout,
        stderr,
    }
}

fn run(argv: &[&str], input: &[u8]) -> Ran {
    run_command(command(argv), input.to_vec())
}

fn command(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(OsString::from).collect(),
        ..Default::default()
    }
}

fn shell(script: &str) -> Ran {
    run(&["sh", "-c", script], b"")
}

#[test]
fn output_and_status_come_back() {
    let ran = shell("echo out; echo err >&2; exit 7");
    assert_eq!(ran.end, End::Exit(Ending::Code(7)));
    assert_eq!(ran.stdout, b"out\n");
    assert_eq!(ran.stderr, b"err\n");
}

#[test]
fn a_signal_is_told_as_one() {
    assert_eq!(shell("kill -SEGV $$").end, End::Exit(Ending::Signal(11)));
}

#[test]
fn what_cannot_be_run_has_the_status_that_shells_give_it() {
    let End::NotRun(status, why) = run(&["no-such-command-here"], b"").end else {
        panic!()
    };
    assert_eq!(
        (status, why.as_str()),
        (127, "no-such-command-here: command not found")
    );
    let End::NotRun(status, _) = run(&["/etc/passwd"], b"").end else {
        panic!()
    };
    assert_eq!(status, 126);
    let nowhere = Command {
        directory: "/no/such/folder".into(),
        ..command(&["true"])
    };
    let End::NotRun(status, why) = run_command(nowhere, Vec::new()).end else {
        panic!()
    };
    assert_eq!(
        (status, why.as_str()),
        (126, "/no/such/folder: no such folder")
    );
}

#[test]
fn environment_and_folder_are_those_asked_for() {
    let wanted = Command {
        env: vec!["COLOUR=sky=blue".into()],
        directory: "/usr".into(),
        ..command(&["sh", "-c", "echo $COLOUR; pwd"])
    };
    assert_eq!(run_command(wanted, Vec::new()).stdout, b"sky=blue\n/usr\n");
}

#[test]
fn much_data_goes_both_ways_whole() {
    let input: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let ran = run(&["cat"], &input);
    assert_eq!(ran.end, End::Exit(Ending::Code(0)));
    assert!(ran.stdout == input);
}

#[test]
fn a_command_that_does_not_read_still_ends() {
    let ran = run(&["true"], &vec![0; 1_000_000]);
    assert_eq!(ran.end, End::Exit(Ending::Code(0)));
    let ran = run(&["sh", "-c", "exec <&-; echo done"], &vec![0; 1_000_000]);
    assert_eq!(ran.stdout, b"done\n");
}

#[test]
fn all_that_was_written_before_the_end_arrives() {
    for _ in 0..20 {
        assert_eq!(shell("seq 1 20000").stdout.len(), 108_894);
    }
}

#[test]
fn a_daemon_left_behind_does_not_hold_the_session() {
    let start = Instant::now();
    let ran = shell("sleep 20 & echo $!");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(ran.end, End::Exit(Ending::Code(0)));
    let daemon: i32 = String::from_utf8(ran.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let daemon = rustix::process::Pid::from_raw(daemon).unwrap();
    // It was not killed with the session: it can be.
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn the_process_group_dies_when_the_root_closes() {
    let (mut root, agent) = channel();
    let start = Frame::Start(command(&["sh", "-c", "sleep 60 & echo $!; cat"]));
    start.write(&mut root).unwrap();
    let Some(Frame::Stdout(pid)) = Frame::read(&mut root).unwrap() else {
        panic!()
    };
    let pid = String::from_utf8(pid).unwrap().trim().to_owned();
    drop(root);
    agent.join().unwrap();

    let deadline = Instant::now() + Duration::from_secs(10);
    while is_alive(&pid) {
        assert!(
            Instant::now() < deadline,
            "the command outlives its session"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs; one that nobody has reaped does not.
fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_root_that_ignores_the_window_is_cut_off() {
    let (mut root, agent) = channel();
    Frame::Start(command(&["sleep", "60"]))
        .write(&mut root)
        .unwrap();
    let piece = Frame::Stdin(vec![0; PIECE]);
    while piece.write(&mut root).is_ok() {}
    agent.join().unwrap();
}

#[test]
fn a_stream_that_begins_wrong_is_refused() {
    let (mut root, agent) = channel();
    Frame::StdinEof.write(&mut root).unwrap();
    assert!(matches!(
        Frame::read(&mut root),
        Ok(Some(Frame::Error(126, _)))
    ));
    drop(root);
    agent.join().unwrap();
}

#[test]
fn an_agent_that_goes_is_noticed() {
    let (root, vnode) = UnixStream::pair().unwrap();
    let vnode = thread::spawn(move || {
        let mut vnode = vnode;
        vnode.read_exact(&mut [0; 8]).unwrap();
    });
    let root = File::from(OwnedFd::from(root));
    let input = Box::new(std::io::empty());
    let end = talk(
        root,
        command(&["true"]),
        input,
        &mut Vec::new(),
        &mut Vec::new(),
    );
    assert!(matches!(end.unwrap(), End::Lost(_)));
    vnode.join().unwrap();
}
