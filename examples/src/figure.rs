//! The figure of the experiment: requests a second as bars and throughput as lines, over the size of a request, as an SVG picture.
//!
//! ```text
//!   Measure, Measure, ...  -->  one panel for each load, one colour for each way  -->  SVG
//! ```

use plotters::coord::Shift;
use plotters::prelude::*;

/// Width and height of the picture, in pixels: what a page of GitHub shows without scaling.
const PIXELS: (u32, u32) = (980, 420);

/// A colour for each way; they are told apart in print and by those who see few colours.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 90, 181), RGBColor(230, 120, 0), RGBColor(120, 120, 120), RGBColor(0, 140, 110)];

const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(225, 225, 225);

/// Height that the title and legend take, in pixels.
const HEADING_PIXELS: u32 = 76;

/// What was measured with one load, one size and one way.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What was done: a panel of its own.
    pub load: String,
    /// Through what: a colour of its own.
    pub way: String,
    /// Bytes in a request.
    pub block_size: u32,
    /// Requests a second.
    pub iops: f64,
    /// MiB a second.
    pub mib_s: f64,
}

type Drawn = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture.
///
/// # Errors
/// There is nothing to show, or more than four ways.
pub fn svg(title: &str, measures: &[Measure]) -> Result<String, Box<dyn std::error::Error>> {
    let (loads, ways) = (distinct(measures, |measure| &measure.load), distinct(measures, |measure| &measure.way));
    if loads.is_empty() || ways.len() > COLOURS.len() {
        return Err("a figure shows one to four ways".into());
    }
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, PIXELS).into_drawing_area();
        // A ground of its own, so that it reads the same on a dark page.
        root.fill(&WHITE)?;
        let (heading, rest) = root.split_vertically(HEADING_PIXELS);
        draw_heading(&heading, title, &ways)?;
        let most = Most::of(measures);
        for (area, load) in rest.split_evenly((1, loads.len())).iter().zip(&loads) {
            let own: Vec<&Measure> = measures.iter().filter(|measure| measure.load == *load).collect();
            draw_panel(area, load, &own, &ways, most)?;
        }
        root.present()?;
    }
    Ok(text)
}

/// What there is, each once, in the order in which it comes.
fn distinct(measures: &[Measure], of: fn(&Measure) -> &String) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for measure in measures {
        if !found.contains(of(measure)) {
            found.push(of(measure).clone());
        }
    }
    found
}

/// Where the axes end: the same in all panels, so that they can be compared.
#[derive(Clone, Copy)]
struct Most {
    iops: f64,
    mib_s: f64,
}

impl Most {
    fn of(measures: &[Measure]) -> Self {
        let most = |value: fn(&Measure) -> f64| measures.iter().map(value).fold(1.0, f64::max) * 1.08;
        Self { iops: most(|measure| measure.iops), mib_s: most(|measure| measure.mib_s) }
    }
}

fn font(pixels: i32, colour: &RGBColor) -> TextStyle<'static> {
    ("sans-serif", pixels).into_font().color(colour)
}

fn draw_heading(area: &Area<'_>, title: &str, ways: &[String]) -> Drawn {
    area.draw(&Text::new(title.to_owned(), (16, 12), font(18, &INK)))?;
    let mut left = 16;
    for (way, colour) in ways.iter().zip(&COLOURS) {
        area.draw(&Rectangle::new([(left, 46), (left + 12, 58)], colour.filled()))?;
        area.draw(&Text::new(way.clone(), (left + 18, 44), font(14, &INK)))?;
        left += 44 + 7 * way.chars().count() as i32;
    }
    area.draw(&Text::new("bars: IOPS (left)   lines: MiB/s (right)", (left, 44), font(14, &INK)))?;
    Ok(())
}

fn draw_panel(area: &Area<'_>, load: &str, measures: &[&Measure], ways: &[String], most: Most) -> Drawn {
    let mut sizes: Vec<u32> = measures.iter().map(|measure| measure.block_size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    // Each size in the middle of its bars.
    let across = -0.5..sizes.len() as f64 - 0.5;
    let mut chart = ChartBuilder::on(area)
        .caption(load, font(15, &INK))
        .margin(6)
        .x_label_area_size(30)
        .y_label_area_size(46)
        .right_y_label_area_size(52)
        .build_cartesian_2d(across.clone(), 0.0..most.iops)?
        .set_secondary_coord(across, 0.0..most.mib_s);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(sizes.len() * 2)
        .x_label_formatter(&|place| size_at(*place, &sizes))
        .light_line_style(WHITE)
        .bold_line_style(FAINT)
        .axis_style(FAINT)
        .y_labels(6)
        .y_label_formatter(&|value| short(*value))
        .label_style(font(12, &INK))
        .draw()?;
    chart
        .configure_secondary_axes()
        .axis_style(FAINT)
        .y_labels(6)
        .y_label_formatter(&|value| short(*value))
        .label_style(font(12, &INK))
        .draw()?;
    for (index, (way, colour)) in ways.iter().zip(&COLOURS).enumerate() {
        let place = |size: u32| sizes.iter().position(|other| *other == size).unwrap_or(0) as f64;
        let own: Vec<&&Measure> = measures.iter().filter(|measure| measure.way == *way).collect();
        let width = 0.8 / ways.len() as f64;
        let left = width * index as f64 - 0.4;
        chart.draw_series(own.iter().map(|measure| {
            let from = place(measure.block_size) + left;
            Rectangle::new([(from, 0.0), (from + width * 0.92, measure.iops)], colour.mix(0.75).filled())
        }))?;
        let mut points: Vec<(f64, f64)> =
            own.iter().map(|measure| (place(measure.block_size), measure.mib_s)).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        chart.draw_secondary_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
        chart.draw_secondary_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    Ok(())
}

/// The size whose bars stand around a place.
fn size_at(place: f64, sizes: &[u32]) -> String {
    let near = place.round();
    let size = sizes.get(near.max(0.0) as usize).filter(|_| (place - near).abs() < 0.01 && near >= 0.0);
    size.map(|size| format!("{}K", size >> 10)).unwrap_or_default()
}

/// A number as an axis has room for it.
fn short(value: f64) -> String {
    match value {
        ..1e3 => format!("{value:.0}"),
        ..1e4 if value % 1e3 != 0.0 => format!("{:.1}k", value / 1e3),
        ..1e6 => format!("{:.0}k", value / 1e3),
        _ => format!("{:.1}M", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures() -> Vec<Measure> {
        let mut measures = Vec::new();
        for load in ["random read", "random write", "random read/write"] {
            for (way, factor) in [("T5 model, PDU offload", 1.0), ("kernel TCP", 0.6), ("loopback port", 1.4)] {
                for kib in [4u32, 8, 16, 32, 64] {
                    let iops = factor * 900_000.0 / f64::from(kib + 4) * 4.0;
                    let mib_s = iops * f64::from(kib) / 1024.0;
                    measures.push(Measure { load: load.into(), way: way.into(), block_size: kib << 10, iops, mib_s });
                }
            }
        }
        measures
    }

    #[test]
    fn each_load_has_a_panel_and_each_way_a_colour() {
        let picture = svg("iSCSI IOPS and throughput over I/O size", &measures()).unwrap();
        if let Ok(path) = std::env::var("FERRISCSI_FIGURE") {
            std::fs::write(path, &picture).unwrap();
        }
        for text in [
            "random read\n",
            "random write\n",
            "random read/write\n",
            "kernel TCP\n",
            "loopback port\n",
            "4K\n",
            "64K\n",
        ] {
            assert!(picture.contains(text), "{text}");
        }
        // A bar for each measure, and one more rectangle for each way in the legend; the ground is the last.
        assert_eq!(picture.matches("<rect").count(), 45 + 3 + 1);
    }

    #[test]
    fn nothing_makes_no_figure() {
        assert!(svg("nothing", &[]).is_err());
    }
}
