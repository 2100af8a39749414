//! Faults that the simulator's own actors commit on purpose, to show that the checker sees them.

/// What is done wrong. Everything else of the history is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A step writes without proving its lease.
    IgnoreLease,
    /// A look that lost its lease applies what it saw long ago.
    StaleLook,
    /// A publication takes the next number instead of the move's.
    OwnSeq,
    /// Whoever waits for a flight is never woken.
    ForgetWaiters,
    /// The collector deletes blobs that steps and versions refer to.
    DeleteWanted,
    /// A delivery is answered before it is stored, and lost.
    LoseDelivery,
    /// A key is written without looking what it holds.
    PutBlindly,
    /// A key is let go while a request that was not answered may still be under way.
    LetGoEarly,
    /// Leases of dead workers are not taken back.
    NoRescue,
    /// Jobs are leased beyond the limit of their project.
    BeyondLimit,
    /// The tip is built instead of the commit.
    BuildTip,
    /// What another job is making is made all the same.
    MakeTwice,
    /// Only the tips are built: commits that were overtaken are forgotten.
    ForgetOvertaken,
    /// A run's count of open jobs is wrong.
    Miscount,
    /// The number of bad attempts is forgotten.
    ForgetTries,
    /// Bytes are stored before they are recorded: the collector may be deleting them.
    RecordLate,
    /// The same delivery again is handled again.
    HandleTwice,
    /// The fan-in does not wait for the last of the jobs before it.
    FanInEarly,
    /// A commit is left out because it equals what is shown, whatever may yet be published before it.
    CompareWithShownAlone,
    /// Leases are over when the clock says so.
    RescueByClock,
}

/// All of them.
pub const ALL: &[Sabotage] = &[
    Sabotage::IgnoreLease,
    Sabotage::StaleLook,
    Sabotage::OwnSeq,
    Sabotage::ForgetWaiters,
    Sabotage::DeleteWanted,
    Sabotage::LoseDelivery,
    Sabotage::PutBlindly,
    Sabotage::LetGoEarly,
    Sabotage::NoRescue,
    Sabotage::BeyondLimit,
    Sabotage::BuildTip,
    Sabotage::MakeTwice,
    Sabotage::ForgetOvertaken,
    Sabotage::Miscount,
    Sabotage::ForgetTries,
    Sabotage::RecordLate,
    Sabotage::HandleTwice,
    Sabotage::FanInEarly,
    Sabotage::CompareWithShownAlone,
    Sabotage::RescueByClock,
];
