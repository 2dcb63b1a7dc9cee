// SPDX-License-Identifier: GPL-2.0

//! Published words under every interleaving and reordering that C11 allows, by loom: a reader has
//! all of what was written at one time, or knows that it has not (BR-50, BR-52).

#![cfg(loom)]

#[path = "support/words.rs"]
mod words;

use adeos_proto::bridge::versioned;
use loom::sync::Arc;
use words::Words;

#[test]
fn br_52_what_is_read_was_written_at_one_time() {
    loom::model(|| {
        let shared = Arc::new(Words::new(&[0, 8, 16]));
        let far = shared.clone();
        let writer = loom::thread::spawn(move || {
            let sequence = versioned::write(&*far, 0, &[1, 1], 0);
            versioned::write(&*far, 0, &[2, 2], sequence)
        });
        let mut words = [9; 2];
        if versioned::read(&*shared, 0, &mut words) {
            assert_eq!(words[0], words[1], "torn");
        }
        assert_eq!(writer.join().unwrap(), 4);
        assert!(versioned::read(&*shared, 0, &mut words));
        assert_eq!(words, [2, 2]);
    });
}
