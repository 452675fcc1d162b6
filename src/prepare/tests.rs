use super::*;

#[test]
fn patterns_of_phases_and_objects_choose_the_published_ones() {
    let lung = Download::FourDLung.options();
    for (name, called) in [
        ("P4^P100^S300^I00003, Gated, 0.0%A", true),
        ("P4^P100^S300^I00003, Gated, 10.0%A", false),
        ("P4^P100^S300^I00003, Gated, 50.0%A", false),
    ] {
        assert_eq!(lung.phase.matches(name), called, "{name}");
    }
    let first = |options: &PrepareOptions, name: &str| {
        options.roi.iter().position(|pattern| pattern.matches(name))
    };
    assert_eq!(
        ["Tumor_c00", "tumor_c10", "Lung_c00"].map(|n| first(&lung, n)),
        [Some(0), Some(1), None]
    );
    let radiomics = Download::NsclcRadiomics.options();
    let names = ["gtv-1", "GTV1", "GTV-2", "Lung-Left"];
    assert_eq!(names.map(|n| first(&radiomics, n)), [Some(0), Some(1), None, None]);
    assert!(radiomics.phase.matches("") && radiomics.phase.matches("CT"));
    for download in Download::ALL {
        assert_eq!(download.name().parse(), Ok(download));
    }
}
