// SPDX-License-Identifier: GPL-2.0

//! The header, what is exported, and the example agree; and what makes no sense is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{c_char, c_int};
use std::fmt::{Debug, Write as _};
use std::io::{self, Write as _};
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::{fs, iter};

use crate::arguments::{buffer, bytes};
use crate::channel::*;
use crate::errno::Failed;
use crate::lock::*;
use crate::region::*;

const HEADER: &str = include_str!("../include/bridge.h");
const EXAMPLE: &str = include_str!("../examples/notices.py");

const C: &[&str] = &["-std=c11", "-x", "c"];
const INCLUDE: &str = "#include <bridge.h>\n";

/// Types of Rust, of C, and of Python's ctypes.
const TYPES: &[(&str, &str, &str)] = &[
    ("()", "void", "None"),
    ("c_int", "int", "c_int"),
    ("c_uint", "unsigned int", "c_uint"),
    ("u16", "uint16_t", "c_uint16"),
    ("u32", "uint32_t", "c_uint32"),
    ("u64", "uint64_t", "c_uint64"),
    ("i64", "int64_t", "c_int64"),
    ("usize", "size_t", "c_size_t"),
    ("isize", "ssize_t", "c_ssize_t"),
    ("*const c_char", "const char *", "c_char_p"),
    ("*const c_void", "const void *", "c_void_p"),
    ("*mut c_void", "void *", "c_void_p"),
    ("*mut Handle", "struct bridge_region *", "c_void_p"),
    ("*mut Stat", "struct bridge_stat *", "c_void_p"),
    ("*mut LockHandle", "struct bridge_lock *", "c_void_p"),
    ("*mut QueueHandle", "struct bridge_queue *", "c_void_p"),
    ("*mut SenderHandle", "struct bridge_sender *", "c_void_p"),
    (
        "*mut ReceiverHandle",
        "struct bridge_receiver *",
        "c_void_p",
    ),
];

fn in_c(rust: &str) -> &'static str {
    let found = TYPES.iter().find(|(name, ..)| *name == rust);
    found.unwrap_or_else(|| panic!("what is {rust:?} in C?")).1
}

fn in_python(rust: &str) -> &'static str {
    TYPES.iter().find(|(name, ..)| *name == rust).unwrap().2
}

/// What a function returns, and what it takes.
type Signature = (String, Vec<String>);

/// The functions that are exported, as the sources have them.
fn exported() -> BTreeMap<String, Signature> {
    let mut functions = BTreeMap::new();
    for file in fs::read_dir(folder().join("src")).unwrap() {
        let path = file.unwrap().path();
        if path.ends_with("tests.rs") {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let of_c = source.matches("extern \"C\" fn bridge_").count();
        assert_eq!(of_c, source.matches("#[no_mangle]").count());
        for text in source.split("#[no_mangle]").skip(1) {
            let (_, text) = text.split_once("extern \"C\" fn ").unwrap();
            let (head, _) = text.split_once('{').unwrap();
            let (name, rest) = head.split_once('(').unwrap();
            let (arguments, result) = rest.split_once(')').unwrap();
            let result = result.trim().strip_prefix("-> ").unwrap_or("()");
            let arguments = arguments.split(',').filter_map(|it| it.split_once(':'));
            let arguments = arguments.map(|(_, it)| it.trim().to_owned()).collect();
            functions.insert(name.to_owned(), (result.trim().to_owned(), arguments));
        }
    }
    functions
}

/// The functions that the header declares.
fn declared() -> BTreeSet<String> {
    let parts = HEADER.split("/*").map(|it| match it.split_once("*/") {
        Some((_, code)) => code,
        None => it,
    });
    let code: String = parts.collect();
    let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let before_brackets = code
        .split('(')
        .map(|it| it.rsplit(|it| !is_name(it)).next());
    before_brackets
        .flatten()
        .filter(|name| name.starts_with("bridge_"))
        .map(str::to_owned)
        .collect()
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a compiler says of a program, if it does not like it.
fn compiled(arguments: &[&str], code: &str) -> Result<(), String> {
    let mut compiler = Command::new("cc")
        .args(arguments)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"])
        .arg("-I")
        .arg(folder().join("include"))
        .arg("-")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = compiler.stdin.take().unwrap();
    input.write_all(code.as_bytes()).unwrap();
    drop(input);
    let output = compiler.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[test]
fn the_header_declares_what_is_exported() {
    let exported = exported();
    assert_eq!(declared(), exported.keys().cloned().collect());
    // Who declares a function twice, and differently, is told so by the compiler.
    let mut code = INCLUDE.to_owned();
    for (name, (result, arguments)) in &exported {
        let arguments: Vec<_> = arguments.iter().map(|it| in_c(it)).collect();
        writeln!(code, "{} {name}({});", in_c(result), arguments.join(", ")).unwrap();
    }
    compiled(C, &code).unwrap();
    let wrong = code.replacen("uint16_t", "uint32_t", 1);
    assert!(compiled(C, &wrong)
        .unwrap_err()
        .contains("conflicting types"));
}

#[test]
fn the_header_has_the_records_and_numbers_that_are_meant() {
    let mut code = INCLUDE.to_owned();
    macro_rules! fields {
        ($($field:ident)*) => { $(
            let (name, offset) = (stringify!($field), offset_of!(Stat, $field));
            let size = {
                fn size_of_field<T>(_: fn(&Stat) -> &T) -> usize {
                    size_of::<T>()
                }
                size_of_field(|stat| &stat.$field)
            };
            let field = format!("((struct bridge_stat *)0)->{name}");
            writeln!(code, "_Static_assert(offsetof(struct bridge_stat, {name}) == {offset}, \"{name}\");").unwrap();
            writeln!(code, "_Static_assert(sizeof({field}) == {size}, \"{name}\");").unwrap();
        )* };
    }
    fields!(name bytes notices deaths user group mode owner owner_life is_orphan moves vnode users readers writers reserved);
    let size = size_of::<Stat>();
    let numbers = [
        ("sizeof(struct bridge_stat)", size as i64),
        ("BRIDGE_GLOBAL", -1),
        ("BRIDGE_OWN", -2),
        ("BRIDGE_READ", 1),
        ("BRIDGE_WRITE", 2),
        ("BRIDGE_NO_VNODES", 0),
        ("BRIDGE_ALL_VNODES", 0xffff),
    ];
    for (name, number) in numbers {
        writeln!(code, "_Static_assert({name} == {number}, \"{name}\");").unwrap();
    }
    compiled(C, &code).unwrap();
}

#[test]
fn the_header_is_for_c_plus_plus_as_well() {
    compiled(&["-std=c++11", "-x", "c++"], INCLUDE).unwrap();
}

#[test]
fn the_programs_of_the_selftests_are_c() {
    let folder = folder().join("../../selftests/c");
    for file in fs::read_dir(folder).unwrap() {
        let code = fs::read_to_string(file.unwrap().path()).unwrap();
        compiled(C, &code).unwrap();
    }
}

#[test]
fn the_example_calls_what_there_is() {
    let exported = exported();
    let (_, table) = EXAMPLE.split_once("PROTOTYPES = {").unwrap();
    let (table, code) = table.split_once("\n}\n").unwrap();
    let mut in_table = BTreeSet::new();
    for line in table.lines().skip(1) {
        let (name, types) = line.trim().split_once(": ").unwrap();
        let name = name.trim_matches('"');
        let (result, arguments) = &exported[name];
        let wanted: Vec<_> = iter::once(result)
            .chain(arguments)
            .map(|it| in_python(it))
            .collect();
        assert_eq!(types, format!("({}),", wanted.join(", ")), "{name}");
        in_table.insert(name);
    }
    let called = code.split("call(\"").skip(1);
    let called: BTreeSet<_> = called.filter_map(|it| it.split('"').next()).collect();
    assert_eq!(called, in_table);
}

/// Checks what a function has just told.
fn refused<T: Failed + PartialEq + Debug>(result: T, number: c_int) {
    let errno = io::Error::last_os_error();
    assert_eq!(result, T::FAILED);
    assert_eq!(errno.raw_os_error(), Some(number));
    // SAFETY: It is this thread's own.
    unsafe { *libc::__errno_location() = 0 };
}

#[test]
fn null_is_no_handle() {
    let region: *mut Handle = null_mut();
    let lock: *mut LockHandle = null_mut();
    let (mut bytes, efault) = ([0_u8; 8], libc::EFAULT);
    let buffer = bytes.as_mut_ptr().cast();
    // SAFETY: What is null here may be null, for an error.
    unsafe {
        refused(bridge_fd(region), efault);
        refused(bridge_size(region), efault);
        refused(bridge_map(region), efault);
        refused(bridge_stat(region, null_mut()), efault);
        refused(bridge_protect(region, 0, 0, 0o600, 0, 0), efault);
        refused(bridge_keep(region, 1), efault);
        refused(bridge_resize(region, 2 << 20), efault);
        refused(bridge_signal(region, -1), efault);
        refused(bridge_notify(region), efault);
        refused(bridge_notices(region), efault);
        refused(bridge_wait(region, 0, 0), efault);
        refused(bridge_wait_word(region, 0, 0, 0), efault);
        refused(bridge_wake_word(region, 0, 1), efault);
        refused(bridge_lock_open(region, 0), efault);
        refused(bridge_lock_acquire(lock, 0), efault);
        refused(bridge_lock_recovered(lock), efault);
        refused(bridge_lock_release(lock), efault);
        refused(bridge_condition_wait(lock, 0, 0), efault);
        refused(bridge_condition_signal(region, 0), efault);
        refused(bridge_condition_broadcast(region, 0), efault);
        refused(bridge_queue_create(region, 0, 1, 1), efault);
        refused(bridge_queue_open(region, 0), efault);
        refused(bridge_queue_bytes(null_mut()), efault);
        refused(bridge_queue_send(null_mut(), buffer, 8, 0), efault);
        refused(bridge_queue_receive(null_mut(), buffer, 8, 0), efault);
        refused(bridge_pipe_create(region, 0, 1, 1), efault);
        refused(bridge_sender_open(region, 0), efault);
        refused(bridge_sender_bytes(null_mut()), efault);
        refused(bridge_send(null_mut(), buffer, 8, 0), efault);
        refused(bridge_receiver_open(region, 0), efault);
        refused(bridge_receiver_bytes(null_mut()), efault);
        refused(bridge_receive(null_mut(), buffer, 8, 0), efault);
        bridge_close(region);
        bridge_lock_close(lock);
        bridge_queue_close(null_mut());
        bridge_sender_close(null_mut());
        bridge_receiver_close(null_mut());
    }
}

#[test]
fn what_finds_no_region_is_refused() {
    let create = |name: *const c_char, scope| {
        // SAFETY: It is a string, or null.
        unsafe { bridge_create(name, scope, 2 << 20, 0o600, 0, 0) }
    };
    let open = |name: *const c_char, scope, access| {
        // SAFETY: As above.
        unsafe { bridge_open(name, scope, access) }
    };
    refused(create(null(), -1), libc::EFAULT);
    refused(open(null(), -1, 1), libc::EFAULT);
    let einval = libc::EINVAL;
    for name in [c"", c"a234567890123456789012345678", c"\xff"] {
        refused(create(name.as_ptr(), -1), einval);
        refused(open(name.as_ptr(), -1, 1), einval);
    }
    refused(open(c"name".as_ptr(), -3, 1), einval);
    refused(open(c"name".as_ptr(), -1, 0), einval);
    refused(open(c"name".as_ptr(), -1, 3), einval);
    let null = fs::File::open("/dev/null").unwrap();
    // SAFETY: It is none, or one that is open.
    unsafe {
        refused(bridge_from_fd(-1), libc::EBADF);
        refused(bridge_from_fd(null.as_raw_fd()), libc::ENOTTY);
    }
}

#[test]
fn a_buffer_of_no_bytes_may_be_anywhere() {
    let (at, room) = ([1_u8, 2], &mut [0_u8; 2]);
    // SAFETY: There are so many bytes there.
    unsafe {
        assert_eq!(bytes(at.as_ptr().cast(), 2).unwrap(), &at);
        assert_eq!(bytes(null(), 0).unwrap(), &[]);
        assert!(buffer(null_mut(), 0).unwrap().is_empty());
        assert_eq!(buffer(room.as_mut_ptr().cast(), 2).unwrap().len(), 2);
        let error = bytes(null(), 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        let error = buffer(null_mut(), 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        let error = bytes(at.as_ptr().cast(), usize::MAX).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
    assert_eq!(bridge_channel_size(2, 9), 256 + 2 * 24);
}
