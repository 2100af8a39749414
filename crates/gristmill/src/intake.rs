//! Intake: from deliveries, polls and requests to runs.
//!
//! Hooks are hints. A look asks the remote where its refs are; [`apply`] compares with the ref heads,
//! records what moved and makes the runs that follow, in one transaction. The remote is the judge: the
//! order in which hooks arrive decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_db::head::{self, Head};
use gristmill_db::project::Project;
use gristmill_db::request::BuildRequest;
use gristmill_db::run::{self, NewRun};
use gristmill_db::{DbError, Tx, delivery, project, request};
use gristmill_model::{
    CommitId, DeliveryId, DeliveryState, Event, EventKind, FirstLook, GitRef, ObjectId, PipelineSpec, RunId,
};

use crate::pipelines::{self, Occasion};

/// Where a ref of the remote was seen to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// What the ref names.
    pub object: ObjectId,
    /// The commit behind it: another object for annotated tags.
    pub commit: CommitId,
}

/// The branches and tags of a remote at one moment.
pub type Seen = BTreeMap<GitRef, Tip>;

/// A waiting delivery and what it tells.
#[derive(Clone, Debug)]
pub struct Understood {
    /// The delivery.
    pub id: DeliveryId,
    /// Whether a person asked for it to be handled again: then it builds what was built before.
    pub is_replay: bool,
    /// Its events, or why they cannot be read.
    pub events: Result<Vec<Event>, String>,
}

/// What a look led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Refs that moved.
    pub moves: usize,
    /// Runs that were made.
    pub runs: Vec<RunId>,
}

/// Why an event of a verified delivery is not acted on: its repository is not the project's.
pub(crate) fn repository_fault(project: &Project, event: &Event) -> Option<String> {
    let named = event.repository.as_ref()?;
    let known_id = project.spec.repository_id.as_ref().or(project.repository_id.as_ref());
    match (known_id, &named.id) {
        (Some(known), Some(id)) if known == id => None,
        (Some(known), Some(id)) => Some(format!(
            "the payload is of repository number {id}, this project's is number {known}: the name was given to another repository; set repository_id to accept it"
        )),
        _ if named.full_name.eq_ignore_ascii_case(project.spec.repository.as_str()) => None,
        _ => Some(format!(
            "the payload is of repository {}, this project's is {}",
            named.full_name, project.spec.repository
        )),
    }
}

/// Takes the events of a delivery apart: those to act on (marked ignored, with the reason, where
/// they are not this repository's).
fn judged(project: &Project, events: &[Event]) -> Vec<Event> {
    let judge = |event: &Event| match repository_fault(project, event) {
        // Nothing of it counts, and nothing is learnt from it: an organisation's hook tells of all its
        // repositories.
        Some(fault) => Event { before: event.before, after: event.after, ..Event::ignored(fault) },
        None => event.clone(),
    };
    events.iter().map(judge).collect()
}

/// Settles deliveries that need no look at the remote: unreadable ones, pings, events that name no ref.
/// Returns those that do need one.
pub fn settle_without_look(
    tx: &mut Tx<'_>,
    project: &Project,
    deliveries: Vec<Understood>,
) -> Result<Vec<Understood>, DbError> {
    let mut left = Vec::new();
    for one in deliveries {
        match &one.events {
            Err(fault) => delivery::settle(tx, one.id, &[], DeliveryState::Ignored, Some(fault))?,
            Ok(events) => {
                let events = judged(project, events);
                if events.iter().any(|event| event.git_ref.is_some()) {
                    left.push(Understood { events: Ok(events), ..one });
                } else {
                    settle(tx, &one, &events)?;
                }
            }
        }
    }
    Ok(left)
}

fn settle(tx: &mut Tx<'_>, one: &Understood, events: &[Event]) -> Result<(), DbError> {
    let acted = events.iter().any(|event| event.kind != EventKind::Ignored);
    let state = if acted { DeliveryState::Handled } else { DeliveryState::Ignored };
    let told = events.iter().find_map(|event| event.reason.as_deref());
    let reason = (!acted).then(|| told.unwrap_or("it tells of no change to a branch or tag"));
    delivery::settle(tx, one.id, events, state, reason)
}

/// Records what a look at the remote saw and makes the runs that follow. `deliveries` were read before
/// the remote was asked, and have been through [`settle_without_look`].
pub fn apply(
    tx: &mut Tx<'_>,
    project: &Project,
    deliveries: &[Understood],
    seen: &Seen,
) -> Result<Applied, DbError> {
    let requests = request::take(tx, project.id)?;
    let mut look = Look {
        project,
        seen,
        requests: &requests,
        heads: BTreeMap::new(),
        applied: Applied::default(),
        made: BTreeSet::new(),
    };
    for head in head::list(tx, project.id)? {
        look.heads.insert(head.git_ref.clone(), head);
    }
    let moves = look.record_moves(tx, deliveries)?;
    for (git_ref, is_first) in &moves {
        look.build_move(tx, git_ref, *is_first, deliveries)?;
    }
    look.build_missing(tx)?;
    for one in deliveries {
        let Ok(events) = &one.events else { continue };
        for event in events {
            look.build_event(tx, one, event)?;
        }
        if let Some(id) = events.iter().find_map(|event| event.repository.as_ref()?.id.as_deref()) {
            project::learn_repository_id(tx, project.id, id)?;
        }
        settle(tx, one, events)?;
    }
    for asked in &requests {
        look.build_request(tx, asked)?;
    }
    project::looked(tx, project.id, None)?;
    Ok(look.applied)
}

/// One look while it is applied.
struct Look<'a> {
    project: &'a Project,
    seen: &'a Seen,
    requests: &'a [BuildRequest],
    heads: BTreeMap<GitRef, Head>,
    applied: Applied,
    /// What this look has made a run for already.
    made: BTreeSet<(String, GitRef, CommitId, bool)>,
}

impl Look<'_> {
    /// Compares every ref that matters with its head. Returns those that moved, and whether they were
    /// never seen before.
    fn record_moves(
        &mut self,
        tx: &mut Tx<'_>,
        deliveries: &[Understood],
    ) -> Result<Vec<(GitRef, bool)>, DbError> {
        let mut moves = Vec::new();
        for (git_ref, tip) in self.seen {
            if !self.matters(git_ref, deliveries) {
                continue;
            }
            let before = self.heads.get(git_ref);
            if before.is_some_and(|head| head.tip == Some(tip.commit)) {
                continue;
            }
            let is_first = before.is_none();
            self.put_head(tx, git_ref, Some(*tip))?;
            moves.push((git_ref.clone(), is_first));
        }
        let is_gone = |head: &&Head| head.tip.is_some() && !self.seen.contains_key(&head.git_ref);
        let gone: Vec<GitRef> =
            self.heads.values().filter(is_gone).map(|head| head.git_ref.clone()).collect();
        for git_ref in gone {
            self.put_head(tx, &git_ref, None)?;
        }
        self.applied.moves = moves.len();
        Ok(moves)
    }

    fn matters(&self, git_ref: &GitRef, deliveries: &[Understood]) -> bool {
        let released =
            |event: &Event| event.kind == EventKind::Release && event.git_ref.as_ref() == Some(git_ref);
        let asked = |asked: &BuildRequest| asked.is_release && asked.git_ref.as_ref() == Some(git_ref);
        self.project.spec.wants(git_ref)
            || events(deliveries).any(|(_, event)| released(event))
            || self.requests.iter().any(asked)
    }

    fn put_head(&mut self, tx: &mut Tx<'_>, git_ref: &GitRef, tip: Option<Tip>) -> Result<(), DbError> {
        let (commit, object) = (tip.map(|tip| tip.commit), tip.map(|tip| tip.object));
        let seq = head::moved(tx, self.project.id, git_ref, commit, object)?;
        let head = Head { git_ref: git_ref.clone(), tip: commit, object, seq, seen: tx.now() };
        self.heads.insert(git_ref.clone(), head);
        Ok(())
    }

    /// A ref moved: its new tip is built.
    fn build_move(
        &mut self,
        tx: &mut Tx<'_>,
        git_ref: &GitRef,
        is_first: bool,
        deliveries: &[Understood],
    ) -> Result<(), DbError> {
        let tip = self.seen[git_ref];
        let seq = self.heads[git_ref].seq;
        let told = teller(deliveries, git_ref, tip);
        for pipeline in wanting(self.project, git_ref) {
            if is_first && told.is_none() && pipeline.first_look == FirstLook::Record {
                continue;
            }
            let cause = told.map_or(Cause::Poll, Cause::Delivery);
            self.build(tx, pipeline, git_ref, tip.commit, Some(seq), false, &cause)?;
        }
        Ok(())
    }

    /// Tips that did not move and have no run: the pipeline, or its wish for the ref, is new.
    fn build_missing(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let building = |pipeline: &&PipelineSpec| pipeline.first_look == FirstLook::Build;
        for pipeline in self.project.spec.pipelines.iter().filter(building) {
            for head in head::unbuilt(tx, self.project.id, &pipeline.name)? {
                let Some(commit) = head.tip.filter(|_| pipeline.refs.wants(&head.git_ref)) else { continue };
                self.build(tx, pipeline, &head.git_ref, commit, Some(head.seq), false, &Cause::Poll)?;
            }
        }
        Ok(())
    }

    /// What an event asks for beyond the moves: commits that are not the tip (any more), releases, tips
    /// that were never built, and everything again for a replay.
    fn build_event(&mut self, tx: &mut Tx<'_>, one: &Understood, event: &Event) -> Result<(), DbError> {
        let is_release = event.kind == EventKind::Release;
        if !matches!(event.kind, EventKind::Push | EventKind::Tag | EventKind::Release) {
            return Ok(());
        }
        let Some(git_ref) = &event.git_ref else { return Ok(()) };
        self.build_told(tx, git_ref, event.after, is_release, one.is_replay, &Cause::Delivery(one.id))
    }

    /// Builds what somebody told of, where it has no run yet or `again` says so.
    fn build_told(
        &mut self,
        tx: &mut Tx<'_>,
        git_ref: &GitRef,
        after: Option<CommitId>,
        is_release: bool,
        again: bool,
        cause: &Cause<'_>,
    ) -> Result<(), DbError> {
        let tip = self.seen.get(git_ref);
        // Forges' APIs do not tell an annotated tag's own id, which may be what was told: it is taken for its tip's.
        let is_by_api = !self.project.spec.fetch.is_git();
        let after = after.and_then(|after| match git_ref.tag() {
            Some(_) if is_by_api => tip.map(|tip| tip.commit),
            _ => Some(after),
        });
        let is_tip = |after: &CommitId| tip.is_some_and(|tip| tip.commit == *after || tip.object == after.0);
        let (commit, seq) = match (after, tip) {
            (Some(after), Some(tip)) if is_tip(&after) => (tip.commit, self.seq_of(git_ref)),
            (Some(after), _) => (after, None),
            (None, Some(tip)) if is_release => (tip.commit, self.seq_of(git_ref)),
            (None, _) => return Ok(()),
        };
        for pipeline in &self.project.spec.pipelines {
            let wanted = if is_release { pipeline.releases } else { pipeline.refs.wants(git_ref) };
            let mut known = || run::exists(tx, self.project.id, &pipeline.name, git_ref, commit, is_release);
            if wanted && (again || !known()?) {
                self.build(tx, pipeline, git_ref, commit, seq, is_release, cause)?;
            }
        }
        Ok(())
    }

    /// A person or a schedule wants the tips built although they did not move; or a delivery that never came told
    /// of a commit or a release.
    fn build_request(&mut self, tx: &mut Tx<'_>, asked: &BuildRequest) -> Result<(), DbError> {
        if asked.commit.is_some() || asked.is_release {
            let Some(git_ref) = &asked.git_ref else { return Ok(()) };
            let cause = Cause::Request(asked);
            return self.build_told(tx, git_ref, asked.commit, asked.is_release, false, &cause);
        }
        let named = |git_ref: &GitRef| asked.git_ref.as_ref().is_none_or(|wanted| wanted == git_ref);
        let tips: Vec<(GitRef, CommitId, i64)> = self
            .heads
            .values()
            .filter(|head| named(&head.git_ref))
            .filter_map(|head| Some((head.git_ref.clone(), head.tip?, head.seq)))
            .collect();
        for (git_ref, commit, seq) in tips {
            for pipeline in wanting(self.project, &git_ref) {
                if asked.pipeline.as_ref().is_none_or(|wanted| *wanted == pipeline.name) {
                    self.build(tx, pipeline, &git_ref, commit, Some(seq), false, &Cause::Request(asked))?;
                }
            }
        }
        Ok(())
    }

    fn seq_of(&self, git_ref: &GitRef) -> Option<i64> {
        self.heads.get(git_ref).map(|head| head.seq)
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a run")]
    fn build(
        &mut self,
        tx: &mut Tx<'_>,
        pipeline: &PipelineSpec,
        git_ref: &GitRef,
        commit: CommitId,
        seq: Option<i64>,
        is_release: bool,
        cause: &Cause<'_>,
    ) -> Result<(), DbError> {
        if !self.made.insert((pipeline.name.clone(), git_ref.clone(), commit, is_release)) {
            return Ok(());
        }
        let occasion = Occasion { git_ref: git_ref.clone(), commit, seq, is_release };
        let plan = pipelines::plan(pipeline, &occasion);
        let (cause, cause_id) = cause.columns();
        let new = NewRun {
            project: self.project.id,
            pipeline: pipeline.name.clone(),
            spec_rev: self.project.rev,
            git_ref: git_ref.clone(),
            commit,
            seq,
            is_release,
            cause,
            cause_id,
        };
        self.applied.runs.push(run::create(tx, &new, &plan, pipeline.supersede)?);
        Ok(())
    }
}

/// Why a run is made.
enum Cause<'a> {
    Delivery(DeliveryId),
    Poll,
    Request(&'a BuildRequest),
}

impl Cause<'_> {
    fn columns(&self) -> (String, Option<String>) {
        match self {
            Cause::Delivery(id) => ("delivery".to_owned(), Some(id.to_string())),
            Cause::Poll => ("poll".to_owned(), None),
            Cause::Request(asked) => (asked.cause.clone(), asked.cause_id.clone()),
        }
    }
}

fn wanting<'p>(project: &'p Project, git_ref: &GitRef) -> impl Iterator<Item = &'p PipelineSpec> {
    let git_ref = git_ref.clone();
    project.spec.pipelines.iter().filter(move |pipeline| pipeline.refs.wants(&git_ref))
}

fn events(deliveries: &[Understood]) -> impl Iterator<Item = (DeliveryId, &Event)> {
    deliveries.iter().flat_map(|one| one.events.iter().flatten().map(move |event| (one.id, event)))
}

/// The delivery that told of the move: best one that names the new tip, else one that names the ref.
fn teller(deliveries: &[Understood], git_ref: &GitRef, tip: Tip) -> Option<DeliveryId> {
    let of_ref = || events(deliveries).filter(|(_, event)| event.git_ref.as_ref() == Some(git_ref));
    let exact = |event: &Event| event.after.is_some_and(|after| after == tip.commit || after.0 == tip.object);
    of_ref().find(|(_, event)| exact(event)).or_else(|| of_ref().next()).map(|(id, _)| id)
}
