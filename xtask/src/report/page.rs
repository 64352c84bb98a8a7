//! The page around the blocks: heading, results table, one section a check.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Block;
use crate::format;
use crate::results::{Record, Source, Verdict};

const STYLE: &str = include_str!("page.css");

/// What one check adds to the page.
#[derive(Debug)]
pub struct Section {
    /// Name, as `--only` takes it; the section's address in the page.
    pub check: &'static str,
    /// Heading.
    pub title: &'static str,
    /// A sentence on what is checked.
    pub about: &'static str,
    /// What it measured.
    pub records: Vec<Record>,
    /// What it shows, rendered.
    pub figures: Vec<Markup>,
    /// Seconds it took.
    pub seconds: f64,
}

impl Section {
    /// Failed where a record is; else skipped where one is, whatever else was measured; else passed.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.records.iter().any(|r| r.verdict() == verdict);
        match () {
            () if any(Verdict::Failed) => Verdict::Failed,
            () if any(Verdict::Skipped) => Verdict::Skipped,
            () => Verdict::Passed,
        }
    }

    /// Whether any of its data stood in for a published set.
    pub fn stands_in(&self) -> bool {
        self.records.iter().any(|r| r.data == Source::StandIn)
    }

    /// A block under its caption, ready for [`Section::figures`].
    pub fn figure(caption: &str, block: &impl Block) -> Markup {
        html! {
            figure class=[block.wide().then_some("wide")] {
                figcaption { (caption) }
                (block.render())
            }
        }
    }

    fn render(&self) -> Markup {
        html! {
            section id=(self.check) {
                div.heading { h2 { (self.title) } (verdict(self.verdict())) span.soft { (format::seconds(self.seconds)) } }
                p.soft { (self.about) }
                @if self.stands_in() {
                    p.note { "Published data was not at hand: these figures are from generated stand-ins and say nothing "
                             "about the published set." }
                }
                @for error in self.records.iter().filter_map(|r| r.error.as_deref()) { p.error { (error) } }
                @for r in &self.records {
                    @if let Some(reason) = &r.skipped { p.note { "Skipped, " (r.metric) ": " (reason) } }
                }
                @if !self.figures.is_empty() {
                    div.blocks { @for figure in &self.figures { (figure) } }
                }
            }
        }
    }
}

/// The whole page. `to_come` are the names of checks that have not run yet, `note` is one line on where and when it ran.
pub fn page(sections: &[Section], to_come: &[&str], note: &str) -> String {
    let failed = sections.iter().any(|s| s.verdict() == Verdict::Failed);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Cairn: end-to-end checks" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Cairn: end-to-end checks" }
                    p.soft { (note) }
                    p class=(if failed { "bad" } else { "good" }) { (summary(sections)) }
                    @if !to_come.is_empty() {
                        p.note { "This run is not finished, or was ended: still to come " (to_come.join(", ")) "." }
                    }
                    @if sections.iter().any(Section::stands_in) {
                        p.note { "Rows marked stand-in come from generated data, with bars meant for it." }
                    }
                    (results(sections))
                    @for section in sections { (section.render()) }
                    footer { "Written by cargo xtask e2e. The same figures for programs: results.json, beside this file." }
                }
            }
        }
    }
    .into_string()
}

/// `3 checks passed`, `1 of 3 checks FAILED`, either with `, 2 skipped`.
pub fn summary(sections: &[Section]) -> String {
    let count = |verdict| sections.iter().filter(|s| s.verdict() == verdict).count();
    let (passed, failed, skipped) = (count(Verdict::Passed), count(Verdict::Failed), count(Verdict::Skipped));
    let checks = |n| if n == 1 { "check" } else { "checks" };
    let run = if failed == 0 {
        format!("{passed} {} passed", checks(passed))
    } else {
        let run = passed + failed;
        format!("{failed} of {run} {} FAILED", checks(run))
    };
    if skipped == 0 { run } else { format!("{run}, {skipped} skipped") }
}

fn verdict(verdict: Verdict) -> Markup {
    html! {
        @match verdict {
            Verdict::Passed => span.good { "passed" },
            Verdict::Failed => span.bad { "failed" },
            Verdict::Skipped => span.soft { "skipped" },
        }
    }
}

fn results(sections: &[Section]) -> Markup {
    html! {
        div.results.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { "check" } th scope="col" { "metric" } th.number scope="col" { "value" }
                        th.number scope="col" { "bar" } th scope="col" aria-label="verdict" {}
                        th.number scope="col" { "after" } th scope="col" { "data" }
                    }
                }
                tbody {
                    @for r in sections.iter().flat_map(|s| &s.records) {
                        tr {
                            td { a href={ "#" (r.check) } { (r.check) } }
                            td { (r.metric) }
                            td.number { @if r.is_measured() { (format::value(r.value)) } }
                            td.number { (r.bar) }
                            td { @if !r.is_measured() || r.bar.number().is_some() { (verdict(r.verdict())) } }
                            td.number { (format::seconds(r.seconds)) }
                            td { (r.data.name()) }
                        }
                    }
                }
            }
        }
    }
}
