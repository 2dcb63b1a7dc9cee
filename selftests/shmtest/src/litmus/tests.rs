// SPDX-License-Identifier: GPL-2.0

//! Litmus tests among threads, and what is made of outcomes.

use super::catalogue::TESTS;
use super::*;

/// Some blocks, however busy the machine is.
const SHORT: Length = Length {
    met: u32::MAX,
    blocks: 2,
};
const ROUNDS: u32 = 2 * BLOCK;

/// Ordinary memory.
struct Ordinary(Vec<AtomicU32>);

impl Ordinary {
    fn new() -> Self {
        Self((0..BYTES / 4).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Words for Ordinary {
    fn word(&self, offset: usize) -> io::Result<&AtomicU32> {
        let word = self.0.get(offset / 4);
        word.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

/// Memory of one role, whose cells no other one has.
struct Apart<'a> {
    common: &'a Ordinary,
    own: Ordinary,
}

impl Words for Apart<'_> {
    fn word(&self, offset: usize) -> io::Result<&AtomicU32> {
        match offset >= CELLS {
            true => self.own.word(offset),
            false => self.common.word(offset),
        }
    }
}

/// Has threads play a test, each in the memory of its role.
fn among_threads<M: Words + Sync>(test: &'static Test, memories: &[&M]) -> Report {
    let roles = memories.len();
    thread::scope(|scope| {
        let players: Vec<_> = memories
            .iter()
            .copied()
            .enumerate()
            .map(|(role, memory)| scope.spawn(move || play(memory, test, role, roles, SHORT)))
            .collect();
        let reports: Vec<_> = players
            .into_iter()
            .map(|player| player.join().unwrap().unwrap())
            .collect();
        assert!(reports.iter().skip(1).all(Option::is_none));
        reports.into_iter().flatten().next().unwrap()
    })
}

fn roles_of(test: &Test) -> Vec<usize> {
    (2..=MOST)
        .filter(|roles| test.parts.are_for(*roles))
        .collect()
}

#[test]
fn threads_see_what_x86_allows() {
    for test in &TESTS {
        for roles in roles_of(test) {
            let memory = Ordinary::new();
            let memories = vec![&memory; roles];
            let report = among_threads(test, &memories);
            assert_eq!(report.forbidden, 0, "{report}");
            assert_eq!(report.rounds, ROUNDS);
            assert_eq!(report.outcomes.values().sum::<u32>(), ROUNDS, "{report}");
            assert!(report.met <= ROUNDS, "{report}");
        }
    }
}

/// Stores that others never see are what a machine without coherent memory would have.
#[test]
fn what_is_not_shared_is_found() {
    for name in ["sb-fence", "sb-swap", "add", "exchange", "claim"] {
        let test = catalogue::find(name).unwrap();
        let common = Ordinary::new();
        let memories = [(); 2].map(|()| Apart {
            common: &common,
            own: Ordinary::new(),
        });
        let report = among_threads(test, &memories.each_ref());
        // From the second block on, cells are as the first one has left them.
        assert!(report.forbidden >= BLOCK, "{report}");
    }
}

#[test]
fn what_must_not_be_is_known() {
    let wrong: [(&str, &[&[u32]]); 11] = [
        ("sb-fence", &[&[0, 0]]),
        ("sb-swap", &[&[0, 0]]),
        ("mp", &[&[1, 0]]),
        ("lb", &[&[1, 1]]),
        ("2+2w", &[&[1, 1]]),
        ("corr", &[&[1, 0], &[2, 0], &[2, 1]]),
        ("wrc", &[&[1, 1, 0]]),
        ("iriw", &[&[1, 0, 1, 0]]),
        ("add", &[&[0, 0, 1], &[0, 1, 1], &[0, 2, 2], &[0, 1, 2, 2]]),
        ("exchange", &[&[0, 0, 2]]),
        ("claim", &[&[0, 0, 2], &[1, 2, 2], &[0, 1, 0], &[0, 2, 1]]),
    ];
    for (name, outcomes) in wrong {
        let test = catalogue::find(name).unwrap();
        for told in outcomes {
            assert!((test.is_forbidden)(told), "{name}: {told:?}");
        }
    }
}

#[test]
fn what_may_be_is_known() {
    let right: [(&str, &[&[u32]]); 12] = [
        ("sb", &[&[0, 0], &[0, 1], &[1, 0], &[1, 1]]),
        ("sb-fence", &[&[0, 1], &[1, 0], &[1, 1]]),
        ("sb-swap", &[&[0, 1], &[1, 0], &[1, 1]]),
        ("mp", &[&[0, 0], &[0, 1], &[1, 1]]),
        ("lb", &[&[0, 0], &[0, 1], &[1, 0]]),
        ("2+2w", &[&[2, 1], &[1, 2], &[2, 2]]),
        ("corr", &[&[0, 0], &[0, 2], &[1, 1], &[1, 2]]),
        ("wrc", &[&[0, 1, 0], &[1, 0, 0], &[1, 1, 1]]),
        ("iriw", &[&[1, 0, 0, 1], &[1, 1, 1, 0], &[0, 0, 0, 0]]),
        ("add", &[&[0, 1, 2], &[1, 0, 2], &[2, 0, 1, 3]]),
        ("exchange", &[&[1, 0, 2]]),
        ("claim", &[&[0, 1, 1], &[2, 0, 2], &[3, 3, 0, 3]]),
    ];
    for (name, outcomes) in right {
        let test = catalogue::find(name).unwrap();
        for told in outcomes {
            assert!(!(test.is_forbidden)(told), "{name}: {told:?}");
        }
    }
}

#[test]
fn a_test_ends_when_enough_have_met() {
    let memory = Ordinary::new();
    let test = catalogue::find("mp").unwrap();
    let length = Length::new(1).unwrap();
    let report = thread::scope(|scope| {
        scope.spawn(|| play(&memory, test, 1, 2, length).unwrap());
        play(&memory, test, 0, 2, length).unwrap().unwrap()
    });
    assert!(report.met >= 1, "{report}");
    assert!(report.rounds < length.blocks * BLOCK, "{report}");
}

#[test]
fn a_role_that_there_is_not_is_refused() {
    let memory = Ordinary::new();
    let test = catalogue::find("sb").unwrap();
    for (role, roles) in [(2, 2), (0, 3), (0, 1)] {
        assert!(play(&memory, test, role, roles, SHORT).is_err());
    }
    assert!(Length::new(0).is_err() && Length::new(MAX_ROUNDS + 1).is_err());
    assert!(catalogue::find("nothing").is_none());
}

#[test]
fn a_report_is_one_line() {
    let mut report = Report::new(catalogue::find("mp").unwrap());
    for told in [[0, 0], [1, 1], [1, 1]] {
        report.note(&told);
    }
    report.met = 2;
    let line = "mp: 3 rounds, 2 of them met, 1 saw 0 0, 2 saw 1 1";
    assert_eq!(report.to_string(), line);
}
