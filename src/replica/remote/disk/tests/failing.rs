//! A disk that takes nothing, at any step: serving goes on, what was there stays, and it is made good later.

use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const KEYS: u64 = 5;

/// Lets the steps from the `from`th on fail, `count` of them.
fn failing(from: usize, count: usize) -> (Steps, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let script = move |_: &'static str| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        if (from..from.saturating_add(count)).contains(&number) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    };
    let script = Some(Arc::new(script) as Arc<_>);
    (Steps { script }, taken)
}

/// A life in which everything is done that touches the disk.
fn life(gateway: &Gateway) {
    gateway.load(first(KEYS));
    gateway.turn();
    for revision in 2..=4 {
        gateway.apply(&step(revision));
        gateway.turn();
    }
    gateway.load(State {
        revision: 5,
        entries: expected(KEYS, 5).into_values().collect(),
        ..first(0)
    });
    gateway.apply(&step(6));
    gateway.turn();
    gateway.apply(&step(7));
    gateway.turn();
}

fn kept(directory: &Path) -> Option<u64> {
    let replica = fresh();
    let kept = look(directory, &[TOKEN.to_owned()], &*replica).expect("never damaged");
    let revision = kept?.at.revision.0;
    assert_eq!(content(&replica.pin().unwrap()), expected(KEYS, revision));
    Some(revision)
}

#[test]
fn whichever_step_fails_the_copy_is_whole_and_made_good() {
    let steps = {
        let directory = tempfile::tempdir().unwrap();
        let (steps, taken) = failing(usize::MAX, 0);
        life(&Gateway::with(directory.path(), &[TOKEN], steps));
        assert_eq!(kept(directory.path()), Some(7));
        taken.load(Ordering::Relaxed)
    };
    assert!(steps > 20, "{steps}");
    for from in 0..steps {
        for count in [1, 3, usize::MAX] {
            let directory = tempfile::tempdir().unwrap();
            let (failing, _) = failing(from, count);
            let gateway = Gateway::with(directory.path(), &[TOKEN], failing);
            life(&gateway);
            assert_eq!(
                gateway.content(),
                expected(KEYS, 7),
                "served whatever the disk does"
            );
            let left = kept(directory.path());
            if count > 3 {
                assert!(!gateway.disk.is_behind(), "nobody waits for a disk");
            }
            if count == 1 {
                gateway.turn();
                gateway.turn();
                assert_eq!(
                    kept(directory.path()),
                    Some(7),
                    "step {from}, {left:?} before"
                );
            }
            // The first steps are of the lock and of the id.
            assert!(gateway.disk.errors() > 0 || from < 8, "step {from}");
        }
    }
}

#[test]
fn a_full_disk_is_said_and_used_again_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs"];
    let mounted = Command::new("mount")
        .args(mount)
        .arg(directory.path())
        .output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("no file system can be mounted here: a full disk is only played by failing steps");
        return;
    }
    let filler = directory.path().join("filler");
    let filled = std::panic::catch_unwind(|| {
        let (gateway, _) = Gateway::restored(directory.path());
        gateway.load(first(KEYS));
        gateway.turn();
        // Room for nothing more.
        let mut room = 256 * 1024;
        while room > 0 {
            match std::fs::write(&filler, vec![1; room]) {
                Ok(()) => break,
                Err(_) => room -= 4096,
            }
        }
        let fat = |revision| put(revision, (0..200).map(|n| key(n, revision)).collect());
        (2..=4).for_each(|revision| gateway.apply(&fat(revision)));
        gateway.turn();
        assert!(gateway.disk.errors() > 0);
        assert_eq!(
            kept_revision(directory.path()),
            Some(1),
            "what was there stays"
        );
        std::fs::remove_file(&filler).unwrap();
        gateway.turn();
        assert_eq!(kept_revision(directory.path()), Some(4));
    });
    let unmounted = Command::new("umount").arg(directory.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    if let Err(panic) = filled {
        std::panic::resume_unwind(panic);
    }
}

fn kept_revision(directory: &Path) -> Option<u64> {
    let replica = fresh();
    let kept = look(directory, &[TOKEN.to_owned()], &*replica).expect("never damaged");
    kept.map(|kept| kept.at.revision.0)
}
