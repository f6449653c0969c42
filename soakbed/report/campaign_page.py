def campaign_page(x):
    return "stub"


def campaign_markdown(x):
    return "stub"
