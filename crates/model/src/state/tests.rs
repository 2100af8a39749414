use super::*;

/// Every word, that it comes back, and that no two states share one.
fn round<S>(all: &[S], words: &str)
where
    S: Copy + PartialEq + std::fmt::Debug + std::fmt::Display + std::str::FromStr<Err = StateError>,
    S: serde::Serialize + serde::de::DeserializeOwned,
{
    let told: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(told.join(" "), words);
    for (state, word) in all.iter().zip(&told) {
        assert_eq!(word.parse::<S>().as_ref(), Ok(state));
        let json = serde_json::to_string(state).unwrap();
        assert_eq!(json, format!("\"{word}\""));
        assert_eq!(serde_json::from_str::<S>(&json).unwrap(), *state);
        assert_eq!(format!("{state:>12}|{state:<12}"), format!("{word:>12}|{word:<12}"));
    }
    for wrong in ["", "Queued", "READY ", "nothing"] {
        assert!(wrong.parse::<S>().is_err(), "{wrong}");
    }
}

#[test]
fn states_are_words() {
    round(RunState::ALL, "queued running succeeded failed cancelled superseded skipped");
    round(JobState::ALL, "blocked ready leased succeeded cached failed dead cancelled");
    round(DeliveryState::ALL, "received handled ignored");
    round(PublicationState::ALL, "desired published overtaken");
    round(StepState::ALL, "making ready condemned deleting");
    assert_eq!("zzz".parse::<JobState>().unwrap_err().to_string(), "`zzz` is not a JobState");
    assert_eq!("zzz".parse::<RunState>().unwrap_err().to_string(), "`zzz` is not a RunState");
}

#[test]
fn what_is_over() {
    let runs: Vec<RunState> = RunState::ALL.iter().copied().filter(|state| !state.is_over()).collect();
    assert_eq!(runs, [RunState::Queued, RunState::Running]);
    let jobs: Vec<JobState> = JobState::ALL.iter().copied().filter(|state| !state.is_over()).collect();
    assert_eq!(jobs, [JobState::Blocked, JobState::Ready, JobState::Leased]);
    let good: Vec<JobState> = JobState::ALL.iter().copied().filter(|state| state.is_success()).collect();
    assert_eq!(good, [JobState::Succeeded, JobState::Cached]);
    assert!(good.iter().all(|state| state.is_over()));
}
