//! People, the configuration, timers and the collector.

use gristmill::pipelines::{self, Occasion};
use gristmill_db::request::{self, BuildRequest};
use gristmill_db::run::{self, NewRun, Stopped};
use gristmill_db::{DbError, artifact, blob, clock, delivery, job, project, publication, schedule, step};
use gristmill_model::{
    ArchiveOptions, ArchiveSpec, Digest, FirstLook, Keep, PipelineKind, PipelineSpec, ProjectSpec, RefFilter,
    RunId, RunState, Timestamp,
};

use crate::sabotage::Sabotage;
use crate::world::{Done, Event, Fault, World, fault};

/// Nothing younger is collected: longer than a step may hold its lease without a sign.
const GRACE_MS: i64 = 60_000;
const IDLE_MS: i64 = 40_000;

/// The settings of a project: a recipe that decides over the bytes, and a few switches.
pub fn spec(index: usize, recipe: i64, is_record: bool) -> ProjectSpec {
    let name = format!("acme/p{index}");
    let pattern = |text: &str| text.parse().expect("a pattern");
    let template = |text: &str| text.parse().expect("a template");
    let pipeline = PipelineSpec {
        name: "archive".to_owned(),
        refs: RefFilter { branches: vec![pattern("main"), pattern("release/*")], tags: vec![pattern("v*")] },
        releases: true,
        supersede: false,
        delay_seconds: 0,
        schedule: None,
        first_look: if is_record { FirstLook::Record } else { FirstLook::Build },
        keep: Keep { versions: Some(2), days: Some(recipe) },
        kind: PipelineKind::Archive(ArchiveSpec {
            format: gristmill_model::ArchiveFormat::Zip,
            key: template("{full_name}/{branch}.zip"),
            tag_key: Some(template("{full_name}/tags/{tag}.zip")),
            release_key: Some(template("{full_name}/release/{tag}.zip")),
            allow_shared_key: false,
            options: ArchiveOptions {
                paths: if index % 2 == 1 { vec!["counted".to_owned()] } else { Vec::new() },
                ..ArchiveOptions::default()
            },
        }),
    };
    ProjectSpec {
        name: name.parse().expect("a name"),
        pattern: None,
        git: "https://example.org".to_owned(),
        fetch: gristmill_model::FetchBy::Git,
        forge: "github".to_owned(),
        repository: name.parse().expect("a repository"),
        repository_id: None,
        poll_seconds: 60,
        jobs_max: 2,
        pipelines: vec![pipeline],
    }
}

impl World {
    /// Somebody clicks something.
    pub fn people(&mut self) -> Done {
        match self.rng.below(100) {
            0..=34 => self.cancel(),
            35..=59 => self.retry(),
            60..=79 => self.replay(),
            _ => self.request(),
        }
    }

    fn any_run(&mut self) -> Option<RunId> {
        let runs: Vec<RunId> = self.truth.runs.keys().rev().take(8).copied().collect();
        if runs.is_empty() { None } else { Some(*self.rng.pick(&runs)) }
    }

    fn cancel(&mut self) -> Done {
        let Some(id) = self.any_run() else { return Ok(()) };
        match self.tx(|tx| run::cancel(tx, id, "somebody said so", None))? {
            Stopped::Now => {
                self.count("cancels");
                self.stop_run(id, "cancelled");
            }
            Stopped::WasOver(_) => self.count("cancels that came too late"),
            Stopped::Publishing => self.count("cancels while it was published"),
            Stopped::Unknown => return fault(format!("run {id} is unknown")),
        }
        Ok(())
    }

    /// As the command line does it: the same commit and move again, with the newest settings.
    fn retry(&mut self) -> Done {
        let Some(id) = self.any_run() else { return Ok(()) };
        let index = self.truth.runs[&id].project;
        let row = self.tx(|tx| {
            let old = run::by_id(tx, id)?.expect("runs stay");
            if !old.state.is_over() || old.state == RunState::Superseded {
                return Ok::<_, DbError>(None);
            }
            let project = project::by_id(tx, old.project)?.expect("projects stay");
            let occasion = Occasion {
                git_ref: old.git_ref.clone(),
                commit: old.commit,
                seq: old.seq,
                is_release: old.is_release,
            };
            let new = NewRun {
                project: old.project,
                pipeline: old.pipeline,
                spec_rev: project.rev,
                git_ref: old.git_ref,
                commit: old.commit,
                seq: old.seq,
                is_release: old.is_release,
                cause: "retry".to_owned(),
                cause_id: Some(id.to_string()),
            };
            let plan = pipelines::plan(&project.spec.pipelines[0], &occasion);
            let new = run::create(tx, &new, &plan, false)?;
            run::by_id(tx, new)
        })?;
        row.map_or(Ok(()), |row| self.record_run(index, row))
    }

    fn replay(&mut self) -> Done {
        let accepted: Vec<usize> =
            (0..self.sent.len()).filter(|n| self.sent[*n].accepted.is_some()).collect();
        if accepted.is_empty() {
            return Ok(());
        }
        let number = *self.rng.pick(&accepted);
        let id = self.sent[number].accepted.expect("chosen so");
        self.count("replays");
        let project = self.sent[number].project;
        self.projects[project].replays += 1;
        if !self.tx(|tx| delivery::replay(tx, id))? {
            return fault(format!("delivery {id} was accepted and is not there"));
        }
        Ok(())
    }

    fn request(&mut self) -> Done {
        let index = usize::try_from(self.rng.below(self.projects.len() as u64)).unwrap();
        let id = self.projects[index].id;
        let git_ref = self.rng.chance(50).then(|| "refs/heads/main".parse().unwrap());
        let asked = BuildRequest { git_ref, cause: "manual".to_owned(), ..BuildRequest::default() };
        self.count("requests");
        self.tx(|tx| request::add(tx, id, &asked))?;
        Ok(())
    }

    /// The configuration changes, and is taken over.
    pub fn import(&mut self) -> Done {
        let index = usize::try_from(self.rng.below(self.projects.len() as u64)).unwrap();
        let project = &mut self.projects[index];
        match self.rng.below(5) {
            0 => project.spec.jobs_max = self.rng.between(1, 3),
            1 => {
                let pipeline = &mut project.spec.pipelines[0];
                pipeline.keep.days = Some(1 + self.rng.between(0, 2));
            }
            2 => project.spec.pipelines[0].supersede ^= true,
            3 => {
                let pipeline = &mut project.spec.pipelines[0];
                pipeline.delay_seconds = self.rng.between(0, 4);
                pipeline.schedule = Some(format!("{} * * * *", self.rng.below(60)));
            }
            _ => {
                project.is_active ^= true;
                let what = if project.is_active { "projects enabled" } else { "projects disabled" };
                self.count(what);
            }
        }
        self.take_over()
    }

    /// Imports the settings as they are now.
    pub fn take_over(&mut self) -> Done {
        let specs: Vec<ProjectSpec> = self
            .projects
            .iter()
            .filter(|project| project.is_active)
            .map(|project| project.spec.clone())
            .collect();
        let names: Vec<_> = self.projects.iter().map(|project| project.spec.name.clone()).collect();
        let rows = self.tx(|tx| {
            project::import(tx, &specs, &[])?;
            names.iter().map(|name| project::by_name(tx, name)).collect::<Result<Vec<_>, DbError>>()
        })?;
        for (index, row) in rows.into_iter().enumerate() {
            let Some(row) = row else { continue };
            self.projects[index].id = row.id;
            let recipe = row.spec.pipelines[0].keep.days.expect("every spec has one");
            self.truth.recipes.insert((row.id, row.rev), recipe);
            self.note_limit(row.id, row.spec.jobs_max);
            if row.active != self.projects[index].is_active {
                return fault(format!("project {} is active: {}", row.name, row.active));
            }
        }
        self.count("imports");
        Ok(())
    }

    /// What the ticker does: polls and schedules.
    pub fn poll(&mut self) -> Done {
        let after = self.rng.between(40_000, 120_000);
        let asked = self.tx(|tx| {
            let due = schedule::due(tx, 10)?;
            for one in &due {
                if one.at > Timestamp(0) {
                    let asked = BuildRequest {
                        pipeline: Some(one.pipeline.clone()),
                        cause: "schedule".to_owned(),
                        ..BuildRequest::default()
                    };
                    request::add(tx, one.project, &asked)?;
                }
                schedule::advance(tx, one, Timestamp(tx.now().0 + after))?;
            }
            project::poll_due(tx, 100)
        })?;
        for _ in 0..asked {
            self.count("polls");
        }
        if self.faults {
            self.soon(10_000, 10_000, Event::Poll);
        }
        Ok(())
    }

    /// Retention, then the collection of steps and blobs.
    pub fn collect(&mut self) -> Done {
        self.look_at_clock()?;
        let is_spared = self.tx(|tx| Ok::<_, DbError>(clock::read(tx)?.spares(tx.now()).is_some()))?;
        if is_spared {
            self.count("collections that wait");
            if self.faults {
                self.soon(15_000, 60_000, Event::Collect);
            }
            return Ok(());
        }
        let (now, shown) = (self.now(), self.shown());
        for index in 0..self.projects.len() {
            self.retain(index)?;
        }
        let sabotaged = self.does(Sabotage::DeleteWanted);
        let (condemned, deleted, going) = self.tx(|tx| {
            step::pardon(tx)?;
            let condemned = step::condemn(tx, Timestamp(shown - IDLE_MS), 100)?;
            let deleted = step::delete_condemned(tx, Timestamp(shown - GRACE_MS), 100)?;
            blob::collect(tx, Timestamp(shown - GRACE_MS), 100)?;
            Ok::<_, DbError>((condemned, deleted, blob::deleting(tx, 100)?))
        })?;
        if condemned > 0 {
            self.count("steps condemned");
        }
        if deleted > 0 {
            self.truth.collected_at = now;
            self.count("steps collected");
        }
        // One collector at a time: a list of objects that is acted on late would name new ones.
        if !going.is_empty() && !self.is_deleting {
            self.is_deleting = true;
            self.soon(100, 25_000, Event::DeleteObjects(going));
        }
        if sabotaged && let Some(digest) = self.bucket.blobs.first().copied() {
            self.bucket.blobs.remove(&digest);
        }
        if self.faults {
            self.soon(15_000, 60_000, Event::Collect);
        }
        Ok(())
    }

    fn retain(&mut self, index: usize) -> Done {
        let id = self.projects[index].id;
        let before = Timestamp(self.shown() - GRACE_MS);
        let extra = self.tx(|tx| {
            let mut extra = publication::more_than(tx, id, "archive", 2, 100)?;
            extra.extend(publication::older_than(tx, id, "archive", before, 100)?);
            for one in &extra {
                publication::delete(tx, &one.key, one.seq)?;
            }
            for old in artifact::old(tx, id, "archive", before, 100)? {
                artifact::delete(tx, old)?;
            }
            Ok::<_, DbError>(extra)
        })?;
        for one in extra {
            self.count("versions deleted");
            self.bucket.delete_version(&one.key, one.seq).map_err(Fault)?;
        }
        Ok(())
    }

    pub fn delete_objects(&mut self, going: Vec<Digest>) {
        for digest in &going {
            self.count("blobs deleted");
            self.bucket.blobs.remove(digest);
        }
        self.soon(20, 1_000, Event::ForgetObjects(going));
    }

    pub fn forget_objects(&mut self, going: &[Digest]) -> Done {
        self.is_deleting = false;
        let going = going.to_vec();
        self.tx(|tx| going.iter().try_for_each(|digest| blob::gone(tx, *digest)))?;
        Ok(())
    }

    /// Every remote is looked at once more.
    pub fn look_everywhere(&mut self) -> Done {
        let ids: Vec<_> = self.projects.iter().map(|project| project.id).collect();
        self.tx(|tx| ids.iter().try_for_each(|id| job::ask_for_look(tx, *id, job::PRIORITY_POLL)))?;
        Ok(())
    }
}
