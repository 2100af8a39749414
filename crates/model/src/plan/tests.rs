use super::*;

fn jobs(count: usize) -> Vec<PlannedJob> {
    (0..count).map(|n| PlannedJob::new("nothing", n.to_string())).collect()
}

fn plan(count: usize, edges: &[(usize, usize)]) -> Plan {
    let plan = Plan { jobs: jobs(count), edges: Vec::new() };
    edges.iter().fold(plan, |plan, (from, to)| plan.edge(*from, *to, EdgeKind::OnSuccess))
}

#[test]
fn a_job_starts_at_once() {
    let job = PlannedJob::new("archive", "{}".to_owned());
    assert_eq!((job.kind.as_str(), job.payload.as_str(), job.delay), ("archive", "{}", Duration::ZERO));
}

#[test]
fn a_chain_goes_one_after_the_other() {
    assert_eq!(Plan::chain(Vec::new()), Plan::default());
    assert_eq!(Plan::chain(jobs(1)), plan(1, &[]));
    assert_eq!(Plan::chain(jobs(3)), plan(3, &[(0, 1), (1, 2)]));
    assert_eq!(Plan::chain(jobs(3)).waits(), [0, 1, 1]);
}

#[test]
fn edges_keep_their_kind() {
    let plan = plan(2, &[]).edge(1, 0, EdgeKind::OnFinish);
    assert_eq!(plan.edges, [PlannedEdge { from: 1, to: 0, kind: EdgeKind::OnFinish }]);
    assert_eq!([EdgeKind::OnSuccess.as_str(), EdgeKind::OnFinish.as_str()], ["on_success", "on_finish"]);
}

#[test]
fn waits_are_counted_by_edge() {
    let diamond = plan(4, &[(0, 1), (0, 2), (1, 3), (2, 3)]);
    assert_eq!(diamond.waits(), [0, 1, 1, 2]);
    assert_eq!(diamond.check(), Ok(()));
    // The same edge twice is waited for twice, and let go twice.
    let twice = plan(2, &[(0, 1), (0, 1)]);
    assert_eq!(twice.waits(), [0, 2]);
    assert_eq!(twice.check(), Ok(()));
}

#[test]
fn circles_are_refused() {
    for edges in [
        &[(0, 0)][..],
        &[(0, 1), (1, 0)],
        &[(0, 1), (1, 2), (2, 0)],
        &[(0, 1), (1, 2), (2, 1)],
        &[(2, 1), (1, 2), (2, 0)],
    ] {
        let error = plan(3, edges).check().unwrap_err();
        assert_eq!(error, PlanError::Circle, "{edges:?}");
        assert_eq!(error.to_string(), "the jobs of the plan wait for each other in a circle");
    }
    assert_eq!(plan(0, &[]).check(), Ok(()));
    assert_eq!(plan(3, &[(2, 1), (1, 0), (2, 0)]).check(), Ok(()));
}

#[test]
fn edges_lead_to_jobs() {
    for (from, to) in [(2, 0), (0, 2), (9, 9)] {
        let error = plan(2, &[(from, to)]).check().unwrap_err();
        assert_eq!(error, PlanError::NoSuchJob { from, to, jobs: 2 });
        assert_eq!(
            error.to_string(),
            format!("an edge from job {from} to job {to}, but the plan has 2 jobs")
        );
    }
    assert_eq!(plan(2, &[(1, 0)]).check(), Ok(()));
}

#[test]
fn plans_are_bounded() {
    assert_eq!(Plan::chain(jobs(PLAN_JOBS_MAX)).check(), Ok(()));
    let error = Plan { jobs: jobs(PLAN_JOBS_MAX + 1), edges: Vec::new() }.check().unwrap_err();
    assert_eq!(error, PlanError::TooLarge(10_001));
    assert_eq!(error.to_string(), "a plan of 10001 jobs; at most 10000 are taken");
}
