//! Plots, drawn as SVG. Colours are classes of the page's style; each plot says in words what it shows, and a table
//! beside it has the numbers.

use std::fmt::Write as _;

use super::html::{Html, escaped, percent, share, thousands, whole};
use crate::live::float;

/// A part of a whole.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) colour: &'static str,
    pub(super) amount: u64,
}

/// Bars that belong together.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) bars: Vec<Bar>,
}

/// A bar with how far the runs lay apart.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) colour: &'static str,
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// As it is written beside the bar.
    pub(super) label: String,
}

const WIDTH: f64 = 400.0;

/// One bar, in parts.
pub(super) fn stacked_bar(page: &mut Html, title: &str, parts: &[Part]) {
    let all: u64 = parts.iter().map(|part| part.amount).sum();
    let said: Vec<String> = parts
        .iter()
        .map(|part| format!("{} {}", percent(share(part.amount, all)), part.name))
        .collect();
    begin(page, "bar", 26.0, title, &said.join(", "));
    let mut x = 0.0;
    for part in parts {
        let width = share(part.amount, all) * WIDTH;
        let tip = format!(
            "{}: {} ({})",
            part.name,
            thousands(part.amount),
            percent(share(part.amount, all))
        );
        page.raw(&format!(
            "<rect class=\"{}\" x=\"{x:.2}\" y=\"0\" width=\"{width:.2}\" height=\"26\"><title>{}</title></rect>\n",
            part.colour,
            escaped(&tip)
        ));
        x += width;
    }
    page.raw("</svg>\n");
}

/// What colours mean.
pub(super) fn legend(page: &mut Html, parts: &[Part]) {
    page.raw("<ul class=\"legend\">\n");
    for part in parts {
        page.raw(&format!("<li><span class=\"key {}\"></span>", part.colour));
        page.text(&format!("{}: {}", part.name, thousands(part.amount)));
        page.raw("</li>\n");
    }
    page.raw("</ul>\n");
}

/// Areas upon each other, over time.
pub(super) fn stacked_area(
    page: &mut Html,
    title: &str,
    step: f64,
    layers: &[(&str, &str, &[u64])],
) {
    let steps = layers
        .iter()
        .map(|(.., frames)| frames.len())
        .max()
        .unwrap_or_default();
    let at = |frames: &[u64], step: usize| float(frames.get(step).copied().unwrap_or_default());
    let sums = (0..steps).map(|i| layers.iter().map(|(.., frames)| at(frames, i)).sum::<f64>());
    let most = sums.fold(0.0, f64::max);
    let top = round_up(most / step);
    let (left, right, height, base) = (62.0, 796.0, 150.0, 162.0);
    let names: Vec<&str> = layers.iter().map(|(name, ..)| *name).collect();
    let said = format!(
        "at most {} frames in a second, over {:.1} seconds: {}",
        whole(most / step),
        step * number(steps),
        names.join(", ")
    );
    wide(page, 186.0, title, &said);
    for tick in 0..=2 {
        let value = top * f64::from(tick) / 2.0;
        let y = base - height * f64::from(tick) / 2.0;
        page.raw(&format!(
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" />\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            left - 4.0,
            y + 4.0,
            short(value)
        ));
    }
    let x = |i: usize| left + (right - left) * number(i) / number(steps.max(2) - 1);
    let y = |value: f64| base - height * value / step / top.max(f64::MIN_POSITIVE);
    let mut below = vec![0.0; steps];
    for (name, colour, frames) in layers {
        let above: Vec<f64> = (0..steps).map(|i| below[i] + at(frames, i)).collect();
        let mut path = String::new();
        for (i, value) in above.iter().enumerate() {
            let _ = write!(
                path,
                "{}{:.1} {:.1}",
                if i == 0 { "M" } else { "L" },
                x(i),
                y(*value)
            );
        }
        for (i, value) in below.iter().enumerate().rev() {
            let _ = write!(path, "L{:.1} {:.1}", x(i), y(*value));
        }
        page.raw(&format!(
            "<path class=\"{colour}\" d=\"{path}Z\"><title>{}</title></path>\n",
            escaped(name)
        ));
        below = above;
    }
    for (share, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
        page.raw(&format!(
            "<text x=\"{:.1}\" y=\"180\" text-anchor=\"{anchor}\">{:.1} s</text>\n",
            left + (right - left) * share,
            step * number(steps) * share
        ));
    }
    page.raw("</svg>\n");
}

/// Bars in groups, one below the other, with what was measured beside.
pub(super) fn bars(page: &mut Html, title: &str, unit: &str, groups: &[Group]) {
    const LINE: f64 = 19.0;
    const HEAD: f64 = 22.0;
    let all = || groups.iter().flat_map(|group| &group.bars);
    let most = all()
        .map(|bar| bar.max)
        .fold(0.0, f64::max)
        .max(f64::MIN_POSITIVE);
    let lines = number(all().count());
    let height = HEAD * number(groups.len()) + LINE * lines + 4.0;
    let said: Vec<String> = groups
        .iter()
        .map(|group| {
            let bars = group.bars.iter();
            let bars: Vec<String> = bars
                .map(|bar| format!("{} {}", bar.name, bar.label))
                .collect();
            format!("{}: {}", group.name, bars.join(", "))
        })
        .collect();
    begin(
        page,
        "bars",
        height,
        title,
        &format!("{unit}. {}", said.join("; ")),
    );
    let (left, right) = (128.0, 344.0);
    let x = |value: f64| left + (right - left) * value / most;
    let mut y = 0.0;
    for group in groups {
        page.raw(&format!(
            "<text class=\"head\" x=\"0\" y=\"{:.1}\">",
            y + 15.0
        ));
        page.text(&group.name);
        page.raw("</text>\n");
        y += HEAD;
        for bar in &group.bars {
            page.raw(&format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">",
                left - 6.0,
                y + 13.0
            ));
            page.text(&bar.name);
            page.raw("</text>\n");
            page.raw(&format!(
                "<rect class=\"{}\" x=\"{left}\" y=\"{:.1}\" width=\"{:.1}\" height=\"13\" rx=\"1.5\" />\n",
                bar.colour,
                y + 2.0,
                (x(bar.median) - left).max(0.5)
            ));
            let (from, to, middle) = (x(bar.min), x(bar.max), y + 8.5);
            page.raw(&format!(
                "<path class=\"spread\" d=\"M{from:.1} {middle:.1}H{to:.1}M{from:.1} {0:.1}V{1:.1}M{to:.1} {0:.1}V{1:.1}\" />\n",
                middle - 3.5,
                middle + 3.5
            ));
            page.raw(&format!(
                "<text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">",
                x(bar.max.max(bar.median)) + 5.0,
                y + 13.0
            ));
            page.text(&bar.label);
            page.raw("</text>\n");
            y += LINE;
        }
    }
    page.raw("</svg>\n");
}

fn begin(page: &mut Html, class: &str, height: f64, title: &str, said: &str) {
    open(page, class, WIDTH, height, title, said);
}

fn wide(page: &mut Html, height: f64, title: &str, said: &str) {
    open(page, "wide", 2.0 * WIDTH, height, title, said);
}

fn open(page: &mut Html, class: &str, width: f64, height: f64, title: &str, said: &str) {
    let stretch = if class == "bar" {
        " preserveAspectRatio=\"none\""
    } else {
        ""
    };
    page.raw(&format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height:.0}\" role=\"img\"{stretch}>\n"
    ));
    page.element("title", title);
    page.element("desc", said);
}

/// The next round number.
fn round_up(number: f64) -> f64 {
    let power = 10_f64.powf(number.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0];
    let fitting = steps.into_iter().find(|step| step * power >= number);
    fitting.unwrap_or(10.0) * power
}

/// A number that has to fit beside an axis.
fn short(number: f64) -> String {
    match number {
        _ if number >= 1e6 => format!("{:.1}M", number / 1e6),
        _ if number >= 1e4 => format!("{:.0}k", number / 1e3),
        _ => whole(number),
    }
}

fn number(count: usize) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX))
}
