//! What the pipelines' `keep` lets go.

use gristmill_db::publication::{self, Extra};
use gristmill_db::{DbError, Tx, artifact, project};
use gristmill_model::{ArtifactId, Keep, ProjectId};

use super::Moments;
use crate::app::App;

/// How many projects are read at once.
const PROJECTS: i64 = 100;

/// One pipeline that does not keep everything for ever.
#[derive(Clone)]
pub(super) struct Rule {
    project: ProjectId,
    pipeline: String,
    keep: Keep,
}

/// Versions that may go.
pub(super) struct Extras {
    /// They may go.
    pub(super) go: Vec<Extra>,
    /// How many the rule names but readers still see.
    pub(super) stay: usize,
    /// Whether the rule names no more than these.
    pub(super) is_last: bool,
}

/// The rules of all active projects. The data of a disabled one stays until it is purged.
pub(super) async fn read(app: &App) -> Result<Vec<Rule>, DbError> {
    let mut rules = Vec::new();
    let mut after = String::new();
    loop {
        let from = after.clone();
        let page = app.db.read(move |tx| project::list(tx, &from, PROJECTS)).await?;
        let Some(last) = page.last() else { return Ok(rules) };
        after = last.name.to_string();
        for project in page.iter().filter(|project| project.active) {
            let limited = project.spec.pipelines.iter().filter(|pipeline| pipeline.keep != Keep::default());
            rules.extend(limited.map(|pipeline| Rule {
                project: project.id,
                pipeline: pipeline.name.clone(),
                keep: pipeline.keep,
            }));
        }
    }
}

impl Rule {
    /// Versions beyond the rule, about `limit` of them.
    pub(super) fn extra_versions(
        &self,
        tx: &mut Tx<'_>,
        moments: Moments,
        limit: usize,
    ) -> Result<Extras, DbError> {
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        let mut is_last = true;
        if let Some(days) = self.keep.days {
            let old =
                publication::older_than(tx, self.project, &self.pipeline, moments.days_ago(days), rows)?;
            is_last &= old.len() < limit;
            found.extend(old);
        }
        if let Some(versions) = self.keep.versions {
            let more = publication::more_than(tx, self.project, &self.pipeline, versions, rows)?;
            is_last &= more.len() < limit;
            found.extend(more);
        }
        found.sort_by(|a, b| (&a.key, a.seq).cmp(&(&b.key, b.seq)));
        found.dedup();
        let all = found.len();
        let mut go = Vec::with_capacity(all);
        for extra in found {
            // A newer version may be desired and not published yet: then readers see this one.
            let visible = publication::versions(tx, &extra.key, i64::MAX, 1)?;
            if visible.first().is_none_or(|visible| visible.seq != extra.seq) {
                go.push(extra);
            }
        }
        Ok(Extras { stay: all - go.len(), go, is_last })
    }

    /// At most `limit` artifacts that nobody can find under a key any more and whose time is over.
    pub(super) fn old_artifacts(
        &self,
        tx: &mut Tx<'_>,
        moments: Moments,
        limit: i64,
    ) -> Result<Vec<ArtifactId>, DbError> {
        let Some(days) = self.keep.days else { return Ok(Vec::new()) };
        artifact::old(tx, self.project, &self.pipeline, moments.days_ago(days), limit)
    }
}
