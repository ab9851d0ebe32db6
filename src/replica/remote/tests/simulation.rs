//! 256 seeds of feed, links and followers: first everything goes wrong, then nothing does any more.
//!
//! `KEYWARD_SEEDS` runs more of them, `KEYWARD_SEED` runs one and says what happened last.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::world::{Seen, World};

const SEEDS: u64 = 256;
/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(60);
/// Then everybody is back within this.
const RETURN: Duration = Duration::from_secs(45);
/// And a gateway that was led to another store within this: it has to forget that one first.
const RETURN_FROM_ELSEWHERE: Duration = Duration::from_secs(120);
/// Then a change is in force everywhere within two seconds, for so long.
const CALM: Duration = Duration::from_secs(10);

fn run(seed: u64, traced: bool) -> Result<Seen, (String, Vec<String>)> {
    let mut world = World::new(seed, traced);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        world.run_until(TROUBLE)?;
        world.heal();
        let back = TROUBLE
            + if world.has_foreign {
                RETURN_FROM_ELSEWHERE
            } else {
                RETURN
            };
        world.run_until(back)?;
        world.has_converged()?;
        world.is_strict = true;
        world.run_until(back + CALM)?;
        world.has_converged()
    }));
    let ran = ran.unwrap_or_else(|_| Err("it panics".to_owned()));
    let at = world.now;
    ran.map(|()| world.seen).map_err(|why| {
        (
            format!("at {at:?}: {why}"),
            world.trace.into_iter().flatten().collect(),
        )
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs these seeds, and gives what they came across.
fn run_all(seeds: impl Iterator<Item = u64>) -> Seen {
    let mut total = Seen::default();
    for seed in seeds {
        match run(seed, false) {
            Ok(seen) => total.add(&seen),
            Err(_) => {
                // The same once more, with notes.
                let Err((why, trace)) = run(seed, true) else {
                    panic!("KEYWARD_SEED={seed} does not repeat itself");
                };
                panic!("KEYWARD_SEED={seed}: {why}\n{}", trace.join("\n"));
            }
        }
    }
    total
}

#[test]
fn whatever_goes_wrong_nothing_is_believed_that_is_not_so_and_everything_comes_back() {
    if let Some(seed) = number("KEYWARD_SEED") {
        run_all(std::iter::once(seed));
        return;
    }
    let seeds = number("KEYWARD_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let total = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                scope.spawn(move || run_all((0..seeds).filter(|seed| seed % threads == part)))
            })
            .collect();
        let mut total = Seen::default();
        for part in parts {
            match part.join() {
                Ok(seen) => total.add(&seen),
                Err(failed) => std::panic::resume_unwind(failed),
            }
        }
        total
    });
    println!("{seeds} seeds: {total:?}");
    total.assert_varied();
}
