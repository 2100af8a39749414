//! One history: a time of faults, then quiet, then the reckoning.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::check;
use crate::people;
use crate::remote::Remote;
use crate::sabotage::Sabotage;
use crate::world::{Done, Event, Project, Stage, World, fault};

/// All that is left must be done within this time: the longest waits for a second try add up to less.
const QUIET_MS: i64 = 12 * 3_600_000;
/// And within so many events.
const EVENTS_MAX: usize = 60_000;

/// Runs the history of a seed; how often what happened, or what went wrong and how it came about.
pub fn run(
    stage: &Stage,
    seed: u64,
    sabotage: Option<Sabotage>,
) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut world = stage.world(seed, sabotage);
    if crate::setting("SIM_SEED") == Some(seed) {
        world.trace = Some(RefCell::new(Vec::new()));
    }
    match play(&mut world) {
        Ok(()) => Ok(world.counts),
        Err(found) if world.trace.is_some() || sabotage.is_some() => {
            let trace = world.trace.take().map(RefCell::into_inner).unwrap_or_default();
            Err(check::describe(seed, &found, &trace))
        }
        Err(_) => {
            // The same again, writing down how it comes about.
            let mut world = stage.world(seed, sabotage);
            world.trace = Some(RefCell::new(Vec::new()));
            let found = play(&mut world).expect_err("a seed is one history");
            Err(check::describe(seed, &found, &world.trace.take().expect("set above").into_inner()))
        }
    }
}

fn play(world: &mut World) -> Done {
    set_up(world)?;
    let end = world.now() + world.rng.between(40_000, 180_000);
    let mut events = 0;
    while world.now() < end {
        let Some(event) = world.next() else { break };
        events += 1;
        happen(world, event)?;
    }
    world.faults = false;
    world.note(|| "quiet".to_owned());
    world.bucket.down_until = 0;
    world.calm_workers()?;
    world.projects.iter_mut().for_each(|project| project.is_active = true);
    world.take_over()?;
    world.look_at_clock()?;
    world.look_everywhere()?;
    world.soon(100_000, 100_000, Event::Collect);
    world.soon(200_000, 200_000, Event::Collect);
    world.wake_all();
    let end = world.now() + QUIET_MS;
    while let Some(event) = world.next() {
        events += 1;
        if world.now() > end || events > EVENTS_MAX {
            return fault(format!("there is no end to it: {event:?} after {events} events"));
        }
        happen(world, event)?;
    }
    world.check_end()
}

fn set_up(world: &mut World) -> Done {
    world.is_single = world.rng.chance(30);
    world.is_record = world.rng.chance(10);
    let projects = world.rng.between(1, 2);
    for index in 0..usize::try_from(projects).unwrap() {
        let number = u8::try_from(index).unwrap();
        let id = gristmill_model::ProjectId::new(gristmill_model::Timestamp(0), 0);
        let spec = people::spec(index, 1, world.is_record);
        let remote = Remote::new(number);
        world.projects.push(Project { id, remote, spec, is_active: true, replays: 0 });
    }
    world.take_over()?;
    let workers = if world.is_single { 1 } else { world.rng.between(2, 3) };
    (0..workers).for_each(|_| world.add_worker());
    for (low, high, event) in [
        (0, 5_000, Event::Push),
        (5_000, 30_000, Event::Trouble),
        (5_000, 60_000, Event::People),
        (20_000, 80_000, Event::Collect),
        (0, 9_000, Event::Poll),
        (20_000, 120_000, Event::Import),
        (20_000, 300_000, Event::Outage),
        (10_000, 30_000, Event::Audit),
        (1_000, 60_000, Event::Clock),
    ] {
        world.soon(low, high, event);
    }
    // Jumps make other faults rarer, because collections wait after them.
    let jumps = match (world.rng.chance(30), world.sabotage) {
        (by_chance, None) => by_chance,
        (_, Some(Sabotage::RescueByClock)) => true,
        _ => false,
    };
    if jumps {
        world.soon(0, 60_000, Event::Jump);
    }
    world.look_at_clock()
}

fn happen(world: &mut World, event: Event) -> Done {
    world.tell_time();
    match event {
        Event::Push => drive(world, World::push, (50, 40_000, Event::Push))?,
        Event::Trouble => drive(world, World::trouble, (3_000, 60_000, Event::Trouble))?,
        Event::People => drive(world, World::people, (3_000, 60_000, Event::People))?,
        Event::Import => drive(world, World::import, (20_000, 150_000, Event::Import))?,
        Event::Jump => drive(world, World::jump, (10_000, 90_000, Event::Jump))?,
        Event::Clock => drive(world, World::look_at_clock, (1_000, 60_000, Event::Clock))?,
        Event::Audit => drive(world, World::audit, (15_000, 40_000, Event::Audit))?,
        Event::Outage if world.faults => {
            world.bucket.down_until = world.now() + world.rng.between(5_000, 90_000);
        }
        Event::Outage => {}
        Event::Deliver(number) => world.deliver(number)?,
        Event::Lease(index) => world.lease(index)?,
        Event::Tick(index) => world.tick(index)?,
        Event::Task(number) => world.go_on(number)?,
        Event::Start(index) => start(world, index)?,
        Event::Collect => world.collect()?,
        Event::DeleteObjects(going) => world.delete_objects(going),
        Event::ForgetObjects(going) => world.forget_objects(&going)?,
        Event::Poll => world.poll()?,
        Event::Orphan(index, job, attempt, boot) => world.check_orphan(index, job, attempt, boot)?,
        Event::Land(what) => world.land(&what)?,
    }
    if world.db.take_woken() {
        world.wake_all();
    }
    Ok(())
}

fn start(world: &mut World, index: usize) -> Done {
    if world.workers[index].is_alive { Ok(()) } else { world.start_worker(index) }
}

/// Does it, and again some time later, while faults happen. Pushes come in bursts.
fn drive(world: &mut World, act: fn(&mut World) -> Done, (low, high, event): (i64, i64, Event)) -> Done {
    if !world.faults {
        return Ok(());
    }
    act(world)?;
    let is_burst = matches!(event, Event::Push) && world.rng.chance(45);
    let high = if is_burst { low + 400 } else { high };
    world.soon(low, high, event);
    Ok(())
}
