//! The report as one page: tables, no script, nothing fetched.

use std::fmt::Write as _;

use super::Report;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;color-scheme:light dark}\
table{border-collapse:collapse;width:100%;margin:0 0 2em}td,th{padding:.25em .5em;border-bottom:1px solid #8884;text-align:left;\
vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}";

/// All of it.
pub(super) fn page(report: &Report) -> String {
    let title = format!("What {} has cost", report.task);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style></head>\n\
         <body><h1>{0}</h1>\n",
        escaped(&title)
    );
    table(&mut html, "What came of it", &values(report));
    table(&mut html, "What it took", &costs(report));
    layers(&mut html, report);
    html.push_str(NOTES);
    html.push_str("</body></html>\n");
    html
}

const NOTES: &str = "<p>Floating-point operations are counted by shapes, two for each multiply-add of a product (dense layers, \
convolutions, recurrences, attention, matrices), taps on padding included; what is no product is not counted. The peak is that of \
multiply-adds on registers, measured when all was done. Seconds are those of the whole, reading of data and validation included.</p>\n";

fn values(report: &Report) -> Vec<(String, String)> {
    report.values.iter().map(|(name, value)| (name.clone(), format!("{value:.5}"))).collect()
}

fn costs(report: &Report) -> Vec<(String, String)> {
    let unknown = || "not measurable here".to_owned();
    let rate = report.flops as f64 / report.seconds;
    let mut rows = vec![
        ("Samples", report.samples.to_string()),
        ("Seconds", format!("{:.2}", report.seconds)),
        ("Processor seconds", report.processor_seconds.map_or_else(unknown, |s| format!("{s:.2}"))),
        ("Floating-point operations", in_units(report.flops as f64, "FLOP")),
        ("of these in validation", in_units(report.validation_flops as f64, "FLOP")),
        ("Operations a second", in_units(rate, "FLOP/s")),
        (
            "Share of the measured peak",
            format!(
                "{:.1} % of {}",
                100.0 * report.share_of_peak,
                in_units(report.peak_flops_per_second, "FLOP/s")
            ),
        ),
        ("Most memory of a process", report.peak_memory.map_or_else(unknown, |b| in_units(b as f64, "B"))),
        ("Bytes between processes", in_units(report.bytes_exchanged as f64, "B")),
        (
            "Energy",
            match report.energy.joules {
                Some(joules) => format!("{} ({})", in_units(joules, "J"), report.energy.source),
                None => report.energy.source.clone(),
            },
        ),
        ("Milliseconds for 1,000 samples", format!("{:.3}", report.milliseconds_per_thousand())),
        ("Processes and threads of each", format!("{} × {}", report.processes, report.threads)),
        ("Instruction set", report.instruction_set.clone()),
        ("Parameters", report.parameters.to_string()),
    ];
    if report.steps > 0 {
        rows.insert(1, ("Steps", report.steps.to_string()));
    }
    if let Some(joules) = report.joules_per_thousand() {
        rows.push(("Energy for 1,000 samples", in_units(joules, "J")));
    }
    if !report.not_counted.is_empty() {
        let names: Vec<&str> = report.not_counted.iter().map(String::as_str).collect();
        rows.push(("Operations that are not counted", names.join(", ")));
    }
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn table(html: &mut String, title: &str, rows: &[(String, String)]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(html, "<h2>{}</h2>\n<table>", escaped(title));
    for (name, value) in rows {
        let _ = writeln!(html, "<tr><td>{}</td><td class=\"n\">{}</td></tr>", escaped(name), escaped(value));
    }
    html.push_str("</table>\n");
}

fn layers(html: &mut String, report: &Report) {
    if report.layers.is_empty() {
        return;
    }
    html.push_str(
        "<h2>By layer</h2>\n<table>\n<tr><th>Layer</th><th class=\"n\">Forward</th><th class=\"n\">Backward</th>\
         <th class=\"n\">Share</th></tr>\n",
    );
    let all = report.flops.saturating_sub(report.validation_flops).max(1) as f64;
    for layer in &report.layers {
        let (forward, backward) = (layer.forward as f64, layer.backward as f64);
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1} %</td></tr>",
            escaped(&layer.layer),
            in_units(forward, "FLOP"),
            in_units(backward, "FLOP"),
            100.0 * (forward + backward) / all
        );
    }
    html.push_str("</table>\n");
}

/// `1.25 GFLOP`
fn in_units(mut value: f64, unit: &str) -> String {
    for prefix in ["", "k", "M", "G", "T", "P"] {
        if value < 1000.0 {
            return if prefix.is_empty() && value.fract() == 0.0 {
                format!("{value} {unit}")
            } else {
                format!("{value:.2} {prefix}{unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.2} E{unit}")
}

/// Text in place of what HTML would read as its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_and_names_no_tags() {
        assert_eq!(in_units(999.0, "B"), "999 B");
        assert_eq!(in_units(0.25, "J"), "0.25 J");
        assert_eq!(in_units(1250.0, "B"), "1.25 kB");
        assert_eq!(in_units(u64::MAX as f64, "FLOP"), "18.45 EFLOP");
        assert_eq!(escaped("<b>&\""), "&lt;b&gt;&amp;&quot;");
    }
}
